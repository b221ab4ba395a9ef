# A thin face over meson: docs/building.md says what each word does.

MESON_FLAGS ?=
PREFIX      ?= /usr/local
FUZZ_SECONDS ?= 30
FUZZ_JOBS   ?= 1
TARGETS     ?=
TESTS       ?=
SUITES      ?=

# Warnings are errors in the release build; at other levels of optimisation gcc sees ghosts.
SANITIZE = -Db_lundef=false -Doptimization=1 -Dwerror=false -Dtests=true
STRICT   = '-Dc_args=-fno-sanitize-recover=all -fno-omit-frame-pointer'
run_tests = meson test -C $(1) --no-rebuild --print-errorlogs $(2)

.PHONY: all check demo asan tsan valgrind fuzz coverage bench install clean format tidy docs-check citations
all: build/shoal

# Always asked; ninja knows what is out of date.
.PHONY: build/shoal
build/shoal: build/build.ninja
	@ninja -C build
	@ln -sf src/shoal build/shoal

build/build.ninja:
	@scripts/check-deps.sh build
	@if pkg-config --exists cmocka; then tests=true; else tests=false; fi; \
	  meson setup build --prefix=$(PREFIX) -Dtests=$$tests $(MESON_FLAGS); \
	  $$tests || touch build/without-tests

# A build without tests, from before cmocka was there, learns of it here.
check:
	@scripts/install-deps.sh test
	@$(MAKE) --no-print-directory build/build.ninja
	@if [ -e build/without-tests ]; then meson configure build -Dtests=true && rm build/without-tests; fi
	@rm -f build/meson-logs/testlog.json
	@$(MAKE) --no-print-directory build/shoal
	@$(call run_tests,build,$(addprefix --suite ,$(SUITES))) || true
	@scripts/summarize-tests.py build/meson-logs/testlog.json

demo:
	@scripts/install-deps.sh build
	@$(MAKE) --no-print-directory build/shoal
	@python3 scripts/demo.py build/shoal

build-asan/build.ninja:
	@meson setup build-asan -Db_sanitize=address,undefined $(STRICT) $(SANITIZE) $(MESON_FLAGS)

build-tsan/build.ninja:
	@meson setup build-tsan -Db_sanitize=thread $(SANITIZE) $(MESON_FLAGS)

build-fuzz/build.ninja:
	@CC=clang meson setup build-fuzz -Dfuzz=true -Db_sanitize=address,undefined $(STRICT) \
	  $(SANITIZE) $(MESON_FLAGS)

build-coverage/build.ninja:
	@meson setup build-coverage -Db_coverage=true -Doptimization=0 -Dwerror=false -Dtests=true $(MESON_FLAGS)

# AddressSanitizer and UndefinedBehaviorSanitizer over all that runs inside one process, or over the
# suites named: SUITES="system interop vectors" are the program itself, which takes longer. (A preloaded
# library of tests/system comes before the sanitizer's.)
asan: build-asan/build.ninja
	@ninja -C build-asan
	@rm -f build-asan/meson-logs/testlog.json
	@ASAN_OPTIONS=abort_on_error=1:print_summary=1:verify_asan_link_order=0 \
	  $(call run_tests,build-asan,-t 3 $(addprefix --suite ,$(or $(SUITES),unit fuzz sim))) || true
	@scripts/summarize-tests.py build-asan/meson-logs/testlog.json

# ThreadSanitizer over the tests with threads, or over the suites named. It wants an address space without
# much randomness.
tsan: build-tsan/build.ninja
	@ninja -C build-tsan
	@rm -f build-tsan/meson-logs/testlog.json
	@setarch -R $(call run_tests,build-tsan,-t 3 $(addprefix --suite ,$(or $(SUITES),threads))) || true
	@scripts/summarize-tests.py build-tsan/meson-logs/testlog.json

# memcheck over the unit tests, or TESTS="torrent/test_picker base/test_map".
valgrind: build/shoal
	@rm -f build/meson-logs/testlog-valgrind.json
	@scripts/run-valgrind.sh build $(TESTS)

fuzz: build-fuzz/build.ninja
	@FUZZ_JOBS=$(FUZZ_JOBS) scripts/run-fuzzers.sh build-fuzz $(FUZZ_SECONDS) $(TARGETS)

coverage: build-coverage/build.ninja
	@ninja -C build-coverage
	@$(call run_tests,build-coverage,-t 3 --suite unit --suite fuzz --suite sim) || true
	@gcovr --root . --filter src/ --gcov-ignore-parse-errors build-coverage \
	  --html-details build-coverage/coverage.html --print-summary
	@echo "build-coverage/coverage.html"

bench: build/shoal
	@scripts/run-benches.sh build

install: build/shoal
	@meson install -C build --no-rebuild

clean:
	rm -rf build build-asan build-tsan build-fuzz build-coverage

format:
	@scripts/check-format.sh --fix

tidy: build/shoal
	@git ls-files 'src/*.c' | xargs -n 8 clang-tidy -p build --quiet

docs-check: build/shoal
	@scripts/check-docs.py build/shoal

citations:
	@scripts/check-citations.py
