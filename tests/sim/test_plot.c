/* Figures: whatever the numbers, what is written is well-formed, bounded and refers to nothing. */
#include "sim/plot.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct mem mem;

static char *write_svg(const struct plot *p)
{
    struct buf out;
    buf_init(&out, &mem, SIZE_MAX);
    plot_write_svg(p, &out);
    buf_u8(&out, 0);
    assert_int_equal(out.err, ERR_OK);
    return (char *)buf_take(&out).data;
}

/* Each element that opens closes; no number is "nan" or "inf". */
static void check_svg(const char *svg)
{
    int depth = 0;
    for (const char *at = svg; (at = strchr(at, '<')); at++) {
        const char *end = strchr(at, '>');
        assert_non_null(end);
        depth += at[1] == '/' ? -1 : end[-1] == '/' ? 0 : 1;
        assert_true(depth >= 0);
    }
    assert_int_equal(depth, 0);
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
    assert_null(strstr(svg, "href"));
    assert_null(strstr(svg, "url("));
}

static void test_figures_are_well_formed(void **state)
{
    (void)state;
    static const double values[] = {0, 1, -5, 1e-9, 3.7, 1e12, 100, 1000, 12345.678, INFINITY, NAN};
    const size_t n = sizeof values / sizeof values[0];
    for (unsigned mask = 0; mask < 4; mask++) {
        struct plot p;
        plot_init(&p, &mem);
        struct plot_panel *panel = plot_panel(&p, "a < b & c", "time, s", "machines");
        panel->is_x_log = mask & 1;
        panel->is_y_log = mask & 2;
        for (int style = PLOT_LINE; style <= PLOT_STEPS; style++) {
            uint32_t s = plot_series(&p, panel, "one", (enum plot_style)style);
            for (size_t i = 0; i < n; i++)
                plot_add(&p, panel, s, values[i], values[(i * 7 + 3) % n]);
        }
        char *svg = write_svg(&p);
        check_svg(svg);
        assert_non_null(strstr(svg, "a &lt; b &amp; c"));
        assert_non_null(strstr(svg, "time, s"));
        mem_free(&mem, svg);
        plot_clear(&p);
    }
    mem_check_empty(&mem);
}

static void test_one_point_and_none(void **state)
{
    (void)state;
    struct plot p;
    plot_init(&p, &mem);
    struct plot_panel *panel = plot_panel(&p, "t", "x", "y");
    uint32_t s = plot_series(&p, panel, "s", PLOT_DOTS);
    char *svg = write_svg(&p);
    assert_string_equal(svg, "");
    mem_free(&mem, svg);
    plot_add(&p, panel, s, 5, 5);
    svg = write_svg(&p);
    check_svg(svg);
    assert_non_null(strstr(svg, "<circle"));
    mem_free(&mem, svg);
    plot_clear(&p);
    mem_check_empty(&mem);
}

/* More than fits is left out, and a long series stays small. */
static void test_bounds(void **state)
{
    (void)state;
    struct plot p;
    plot_init(&p, &mem);
    for (uint32_t i = 0; i < PLOT_PANELS_MAX; i++)
        assert_non_null(plot_panel(&p, "t", "x", "y"));
    assert_null(plot_panel(&p, "t", "x", "y"));
    assert_int_equal(plot_series(&p, NULL, "s", PLOT_LINE), PLOT_SERIES_MAX);
    struct plot_panel *panel = p.panels[0];
    for (uint32_t i = 0; i < PLOT_SERIES_MAX; i++)
        assert_int_equal(plot_series(&p, panel, "s", PLOT_LINE), i);
    assert_int_equal(plot_series(&p, panel, "s", PLOT_LINE), PLOT_SERIES_MAX);
    plot_add(&p, panel, PLOT_SERIES_MAX, 1, 1);
    for (int i = 0; i < 100000; i++)
        plot_add(&p, panel, 0, i, i % 1000);
    char *svg = write_svg(&p);
    check_svg(svg);
    assert_in_range(strlen(svg), 1000, 12000);
    mem_free(&mem, svg);
    plot_clear(&p);
    mem_check_empty(&mem);
}

static void test_without_memory(void **state)
{
    (void)state;
    for (uint64_t k = 1; k < 5; k++) {
        struct mem small;
        struct plot p;
        struct buf out;
        mem_init(&small, MEM_NO_BUDGET, NULL);
        small.fail_at = k;
        plot_init(&p, &small);
        struct plot_panel *panel = plot_panel(&p, "t", "x", "y");
        uint32_t s = plot_series(&p, panel, "s", PLOT_LINE);
        for (int i = 0; i < 200; i++)
            plot_add(&p, panel, s, i, i);
        buf_init(&out, &small, SIZE_MAX);
        plot_write_svg(&p, &out);
        assert_true(out.err == ERR_NO_MEMORY || p.n_panels == 0 || k > 3);
        buf_clear(&out);
        plot_clear(&p);
        mem_check_empty(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures_are_well_formed),
        cmocka_unit_test(test_one_point_and_none),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_without_memory),
    };
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
