"""chain_scripts: what gen_chain.py makes transactions of: keys and signatures (libsecp256k1), encodings, a transaction being
signed under each of the rules, outputs of every kind, and what spends them.

Makers and spenders draw from a generator g: g.bits(n), g.below(n), g.bytes(n) and g.sk(); g.height and g.mtp are where it
stands. The same draws give the same bytes.
"""
import ctypes, ctypes.util, hashlib, os, struct, sys

sha256 = hashlib.sha256


def _ripemd_ok():
    try:
        hashlib.new('ripemd160', b'')
        return True
    except ValueError:
        return False


if not _ripemd_ok():
    sys.exit("gen_chain.py: this Python's OpenSSL has no ripemd160 (enable the legacy provider)")


def dsha(b):
    return sha256(sha256(b).digest()).digest()


def hash160(b):
    return hashlib.new('ripemd160', sha256(b).digest()).digest()


# ---------------------------------------------------------------- libsecp256k1
def _load():
    for n in (os.environ.get('SECP256K1_LIB'), 'libsecp256k1.so.1', 'libsecp256k1.so.2',
              'libsecp256k1.so.5', 'libsecp256k1.so.6', ctypes.util.find_library('secp256k1')):
        if n:
            try:
                return ctypes.CDLL(n)
            except OSError:
                pass
    sys.exit("gen_chain.py: libsecp256k1 not found (apt-get install libsecp256k1-1)")


_l = _load()
_P, _S, _SZ = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t


def _fn(name, *args, res=ctypes.c_int):
    f = getattr(_l, 'secp256k1_' + name)
    f.argtypes, f.restype = list(args), res
    return f


_ctx = _fn('context_create', ctypes.c_uint, res=_P)(0x301)
_pub_create = _fn('ec_pubkey_create', _P, _P, _S)
_pub_ser = _fn('ec_pubkey_serialize', _P, _P, _P, _P, ctypes.c_uint)
_ecdsa_sign = _fn('ecdsa_sign', _P, _P, _S, _S, _P, _P)
_der_ser = _fn('ecdsa_signature_serialize_der', _P, _P, _P, _P)
_cmp_ser = _fn('ecdsa_signature_serialize_compact', _P, _P, _P)
_cmp_parse = _fn('ecdsa_signature_parse_compact', _P, _P, _S)
_kp_create = _fn('keypair_create', _P, _P, _S)
_kp_xonly = _fn('keypair_xonly_pub', _P, _P, _P, _P)
_kp_tweak = _fn('keypair_xonly_tweak_add', _P, _P, _S)
_xo_ser = _fn('xonly_pubkey_serialize', _P, _P, _P)
_schnorr = _fn('schnorrsig_sign32' if hasattr(_l, 'secp256k1_schnorrsig_sign32') else 'schnorrsig_sign',
               _P, _P, _S, _S, _P)
_b64a, _b64b, _b72, _b65 = (ctypes.create_string_buffer(n) for n in (64, 64, 72, 65))
_b96, _b32 = ctypes.create_string_buffer(96), ctypes.create_string_buffer(32)
_ln, _par = ctypes.c_size_t(0), ctypes.c_int(0)
_lnr, _parr = ctypes.byref(_ln), ctypes.byref(_par)
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def pubkey(sk, compressed=True):
    _pub_create(_ctx, _b64a, sk)
    _ln.value = 65
    _pub_ser(_ctx, _b65, _lnr, _b64a, 0x102 if compressed else 2)
    return _b65.raw[:_ln.value]


def ecdsa(sk, msg, high_s=False):
    _ecdsa_sign(_ctx, _b64a, msg, sk, None, None)
    if high_s:                      # valid by consensus: only relay policy wants a low S
        _cmp_ser(_ctx, _b64b, _b64a)
        c = _b64b.raw
        s = N - int.from_bytes(c[32:], 'big')
        _cmp_parse(_ctx, _b64a, c[:32] + s.to_bytes(32, 'big'))
    _ln.value = 72
    _der_ser(_ctx, _b72, _lnr, _b64a)
    return _b72.raw[:_ln.value]


def keypair(sk):
    _kp_create(_ctx, _b96, sk)
    return _b96.raw


def kp_xonly(kp):
    _kp_xonly(_ctx, _b64a, _parr, kp)
    _xo_ser(_ctx, _b32, _b64a)
    return _b32.raw, _par.value


def kp_tweaked(kp, tweak):
    _b96.raw = kp
    if not _kp_tweak(_ctx, _b96, tweak):
        raise RuntimeError('tweak')
    return _b96.raw


def schnorr(kp, msg):
    _schnorr(_ctx, _b64a, msg, kp, None)
    return _b64a.raw


# ---------------------------------------------------------------- encodings
def _tag(t):
    h = sha256(t.encode()).digest()
    return sha256(h + h)


_T_TWEAK, _T_LEAF, _T_BRANCH, _T_SIG = map(_tag, ('TapTweak', 'TapLeaf', 'TapBranch', 'TapSighash'))


def tagged(t, b):
    h = t.copy()
    h.update(b)
    return h.digest()


_B = [bytes([i]) for i in range(256)]
u32, u64 = struct.Struct('<I').pack, struct.Struct('<Q').pack
SEQ_FINAL, SEQ_FE, SEQ_FD = b'\xff\xff\xff\xff', b'\xfe\xff\xff\xff', b'\xfd\xff\xff\xff'
Z32, ONE32, Z4, DUMMY_IN = bytes(32), b'\x01' + bytes(31), bytes(4), bytes(5)


def varint(n):
    if n < 253:
        return _B[n]
    if n < 0x10000:
        return b'\xfd' + struct.pack('<H', n)
    return b'\xfe' + u32(n)


def vs(b):
    return varint(len(b)) + b


def push(b):
    n = len(b)
    if n < 76:
        return _B[n] + b
    if n < 256:
        return b'\x4c' + _B[n] + b
    return b'\x4d' + struct.pack('<H', n) + b


def num(n):
    """Minimal script push of a number."""
    if n == 0:
        return b'\0'
    if 1 <= n <= 16:
        return _B[0x50 + n]
    r, a = bytearray(), n
    while a:
        r.append(a & 255)
        a >>= 8
    if r[-1] & 0x80:
        r.append(0)
    return push(bytes(r))


def wit(items):
    return varint(len(items)) + b''.join([vs(x) for x in items])


# ---------------------------------------------------------------- a transaction being signed
class Tx:
    __slots__ = ('ver', 'lt', 'ins', 'ops', 'seqs', 'outs', 'outser', 'n', '_blank', '_hp', '_hs', '_ho', '_tr', 'g')

    def __init__(self, g, ver, lt, ins, seqs, outs):
        self.g, self.ver, self.lt, self.ins, self.seqs, self.outs = g, ver, lt, ins, seqs, outs
        self.ops = [c[0] for c in ins]
        self.n = len(ins)
        self.outser = varint(len(outs)) + b''.join(outs)
        self._blank = self._hp = self._tr = None

    def legacy(self, i, code, ht):
        base = ht & 31
        if base == 3 and i >= len(self.outs):
            return ONE32                     # the SIGHASH_SINGLE bug: part of consensus
        me = self.ops[i] + vs(code) + self.seqs[i]
        if ht & 0x80:
            ins = b'\x01' + me
        elif base == 2 or base == 3:
            o = self.ops
            ins = varint(self.n) + b''.join([me if k == i else o[k] + DUMMY_IN for k in range(self.n)])
        else:
            b = self._blank
            if b is None:
                s = self.seqs
                b = self._blank = b''.join([o + b'\0' + s[k] for k, o in enumerate(self.ops)])
            ins = varint(self.n) + b[:41 * i] + me + b[41 * i + 41:]
        if base == 2:
            outs = b'\0'
        elif base == 3:
            outs = varint(i + 1) + (b'\xff' * 8 + b'\0') * i + self.outs[i]
        else:
            outs = self.outser
        return dsha(self.ver + ins + outs + self.lt + u32(ht))

    def v0(self, i, code, ht):
        if self._hp is None:
            self._hp = dsha(b''.join(self.ops))
            self._hs = dsha(b''.join(self.seqs))
            self._ho = dsha(b''.join(self.outs))
        base = ht & 31
        c = self.ins[i]
        if base == 2 or base == 3:
            ho = dsha(self.outs[i]) if base == 3 and i < len(self.outs) else Z32
            hs = Z32
        else:
            ho, hs = self._ho, self._hs
        hp = self._hp
        if ht & 0x80:
            hp = hs = Z32
        return dsha(self.ver + hp + hs + c[0] + vs(code) + u64(c[1]) + self.seqs[i] + ho + self.lt + u32(ht))

    def tr(self, i, ht, annex=None, leaf=None, codesep=SEQ_FINAL):
        t = self._tr
        if t is None:
            t = self._tr = (sha256(b''.join(self.ops)).digest() +
                            sha256(b''.join([u64(c[1]) for c in self.ins])).digest() +
                            sha256(b''.join([vs(c[2]) for c in self.ins])).digest() +
                            sha256(b''.join(self.seqs)).digest(),
                            sha256(b''.join(self.outs)).digest())
        base, acp = ht & 3, ht & 0x80
        p = [b'\0', _B[ht], self.ver, self.lt]
        if not acp:
            p.append(t[0])
        if base < 2:
            p.append(t[1])
        p.append(_B[(2 if leaf else 0) + (1 if annex else 0)])
        if acp:
            c = self.ins[i]
            p += [c[0], u64(c[1]), vs(c[2]), self.seqs[i]]
        else:
            p.append(u32(i))
        if annex:
            p.append(sha256(vs(annex)).digest())
        if base == 3:
            p.append(sha256(self.outs[i]).digest())
        if leaf:
            p += [leaf, b'\0', codesep]
        return tagged(_T_SIG, b''.join(p))


# Hash types: mostly ALL, the rest spread.
_HT_TAB = [1] * 58 + [0x81, 2, 3, 0x82, 0x83, 0x81]
_HT_TR = [0] * 52 + [1] * 6 + [0x81, 2, 3, 0x82, 0x83, 0x81]


def ht_any(g):
    """Hash type for the pre-taproot rules; now and then one that only consensus allows."""
    h = _HT_TAB[g.bits(6)]
    if h != 1 and g.bits(4) == 0:
        return (0, 4, 0x50, 0x84, 0x1f, 0xe1, 0xc3)[g.below(7)]
    return h


def sig_legacy(t, i, sk, code):
    h = ht_any(t.g)
    return ecdsa(sk, t.legacy(i, code, h), t.g.bits(7) == 0) + _B[h]


def sig_v0(t, i, sk, code):
    h = ht_any(t.g)
    return ecdsa(sk, t.v0(i, code, h), t.g.bits(7) == 0) + _B[h]


def tr_ht(t, i):
    h = _HT_TR[t.g.bits(6)]
    return h if (h & 3) != 3 or i < len(t.outs) else 0


def sig_tr(t, i, kp, annex=None, leaf=None, codesep=SEQ_FINAL):
    h = tr_ht(t, i)
    s = schnorr(kp, t.tr(i, h, annex, leaf, codesep))
    return s + _B[h] if h else s


# ---------------------------------------------------------------- spenders: (tx, input, coin) -> (scriptSig, witness or None)
def sp_p2pkh(t, i, c):
    sk, pub = c[5]
    s = sig_legacy(t, i, sk, c[2])
    r = t.g.bits(8)
    if r == 0:                                   # non-minimal push: policy only
        return b'\x4c' + _B[len(s)] + s + push(pub), None
    if r == 1:                                   # unclean stack: policy only
        return b'\x51' + push(s) + push(pub), None
    return push(s) + push(pub), None


def sp_p2pk(t, i, c):
    return push(sig_legacy(t, i, c[5], c[2])), None


def sp_p2wpkh(t, i, c):
    sk, pub, code = c[5]
    return b'', wit((sig_v0(t, i, sk, code), pub))


def sp_sh_wpkh(t, i, c):
    sk, pub, code = c[5]
    return push(code[1]), wit((sig_v0(t, i, sk, code[0]), pub))


def _subset(g, m, n):
    pick = list(range(n))
    while len(pick) > m:
        del pick[g.below(len(pick))]
    return pick


def sp_multi(t, i, c):
    m, sks, script, mode = c[5]
    f = sig_v0 if mode in ('wsh', 'shwsh') else sig_legacy
    sigs = [f(t, i, sks[k], script) for k in _subset(t.g, m, len(sks))]
    if mode == 'bare':
        return b'\0' + b''.join(map(push, sigs)), None
    if mode == 'sh':
        return b'\0' + b''.join(map(push, sigs)) + push(script), None
    w = wit([b''] + sigs + [script])
    return (b'' if mode == 'wsh' else push(b'\0\x20' + sha256(script).digest())), w


def sp_script(t, i, c):
    """aux = (mode, script, [item, ...]); an item is bytes, or ('sig', sk, scriptCode)."""
    mode, script, items = c[5]
    f = sig_v0 if mode in ('wsh', 'shwsh') else sig_legacy
    st = [x if isinstance(x, bytes) else f(t, i, x[1], x[2]) for x in items]
    if mode == 'bare':
        return b''.join([num(x[0]) if len(x) == 1 and 1 <= x[0] <= 16 else push(x) for x in st]), None
    if mode == 'sh':
        return b''.join([num(x[0]) if len(x) == 1 and 1 <= x[0] <= 16 else push(x) for x in st]) + push(script), None
    w = wit(st + [script])
    return (b'' if mode == 'wsh' else push(b'\0\x20' + sha256(script).digest())), w


def sp_none(t, i, c):
    return b'', None


def sp_fixed_wit(t, i, c):
    return b'', wit(c[5])


def _annex(g):
    return b'\x50' + g.bytes(g.below(40)) if g.bits(7) == 0 else None


def sp_tr_key(t, i, c):
    a = _annex(t.g)
    s = sig_tr(t, i, c[5], a)
    return b'', wit((s, a)) if a else wit((s,))


def sp_tr_leaf(t, i, c):
    """aux = (script, leafhash, control, [item, ...]); item: bytes or ('sig', keypair, codesep)."""
    script, leaf, control, items = c[5]
    a = _annex(t.g)
    st = [x if isinstance(x, bytes) else sig_tr(t, i, x[1], a, leaf, x[2]) for x in items]
    st += [script, control]
    if a:
        st.append(a)
    return b'', wit(st)


# ---------------------------------------------------------------- outputs
# A maker returns (scriptPubKey, kind, spender, aux, lock); lock: None, ('cltv', v) or ('csv', seq).
def mk_p2pkh(g):
    sk = g.sk()
    pub = pubkey(sk, g.bits(4) != 0)
    return b'\x76\xa9\x14' + hash160(pub) + b'\x88\xac', 'p2pkh', sp_p2pkh, (sk, pub), None


def mk_p2pk(g):
    sk = g.sk()
    r = g.bits(4)
    pub = pubkey(sk, r > 5)
    if r == 0:                                   # hybrid encoding: policy frowns, consensus takes it
        pub = _B[6 + (pub[64] & 1)] + pub[1:]
    return push(pub) + b'\xac', 'p2pk', sp_p2pk, sk, None


def mk_p2wpkh(g):
    sk = g.sk()
    pub = pubkey(sk)
    h = hash160(pub)
    return b'\0\x14' + h, 'p2wpkh', sp_p2wpkh, (sk, pub, b'\x76\xa9\x14' + h + b'\x88\xac'), None


def mk_sh_wpkh(g):
    sk = g.sk()
    pub = pubkey(sk)
    h = hash160(pub)
    prog = b'\0\x14' + h
    return (b'\xa9\x14' + hash160(prog) + b'\x87', 'p2sh-p2wpkh', sp_sh_wpkh,
            (sk, pub, (b'\x76\xa9\x14' + h + b'\x88\xac', prog)), None)


def wrap(mode, script):
    if mode == 'bare':
        return script
    if mode == 'sh':
        return b'\xa9\x14' + hash160(script) + b'\x87'
    p = b'\0\x20' + sha256(script).digest()
    return p if mode == 'wsh' else b'\xa9\x14' + hash160(p) + b'\x87'


_MODE_NAME = {'bare': 'bare', 'sh': 'p2sh', 'wsh': 'p2wsh', 'shwsh': 'p2sh-p2wsh'}


def multi(g, m, n, mode):
    sks = [g.sk() for _ in range(n)]
    script = num(m) + b''.join([push(pubkey(k)) for k in sks]) + num(n) + b'\xae'
    return wrap(mode, script), _MODE_NAME[mode] + '-multisig', sp_multi, (m, sks, script, mode), None


def mk_sh_multi(g):
    return multi(g, *((2, 3) if g.bits(2) else ((2, 2), (1, 2), (3, 5), (1, 1))[g.bits(2)]), 'sh')


def mk_wsh_multi(g):
    return multi(g, *(((2, 2), (2, 3), (2, 3), (3, 5), (2, 2), (1, 3), (2, 3), (5, 8))[g.bits(3)]), 'wsh')


def mk_shwsh_multi(g):
    return multi(g, 2, 3, 'shwsh')


def mk_bare_multi(g):
    return multi(g, *(((1, 2), (1, 3), (2, 3), (1, 1))[g.bits(2)]), 'bare')


def mk_opreturn(g):
    n = g.bits(2)
    if n == 0:
        d = b'\x6a' + b'\x5d' + push(g.bytes(4 + g.below(20)))        # rune-like
    elif n == 1:
        d = b'\x6a' + push(g.bytes(20)) + push(g.bytes(20))
    elif n == 2 and g.bits(5) == 0:
        d = b'\x6a' + push(g.bytes(200 + g.below(800)))
    else:
        d = b'\x6a' + push(g.bytes(8 + g.below(73)))
    return d, 'op_return', None, None, None


def mk_cltv(g):
    sk = g.sk()
    pub = pubkey(sk)
    v = g.height + g.below(40) if g.bits(1) else g.mtp + g.below(20000)
    script = num(v) + b'\xb1\x75' + push(pub) + b'\xac'
    mode = ('sh', 'wsh', 'shwsh', 'bare')[g.bits(2)]
    return wrap(mode, script), 'cltv', sp_script, (mode, script, [('sig', sk, script)]), ('cltv', v)


def _rel(g):
    return (1 << 22) | g.below(30) if g.bits(2) == 0 else 1 + g.below(30)


def mk_csv(g):
    sk = g.sk()
    v = _rel(g)
    script = num(v) + b'\xb2\x75' + push(pubkey(sk)) + b'\xac'
    mode = ('sh', 'wsh', 'wsh', 'shwsh')[g.bits(2)]
    return wrap(mode, script), 'csv', sp_script, (mode, script, [('sig', sk, script)]), ('csv', v)


def mk_ln(g):
    """Lightning-like to_local and HTLC outputs."""
    a, b = g.sk(), g.sk()
    pa, pb = push(pubkey(a)), push(pubkey(b))
    if g.bits(1):
        v = _rel(g)
        script = b'\x63' + pa + b'\x67' + num(v) + b'\xb2\x75' + pb + b'\x68\xac'
        if g.bits(2) == 0:
            return wrap('wsh', script), 'p2wsh-ln', sp_script, ('wsh', script, [('sig', a, script), b'\x01']), None
        return wrap('wsh', script), 'p2wsh-ln', sp_script, ('wsh', script, [('sig', b, script), b'']), ('csv', v)
    pre = g.bytes(32)
    v = g.height + g.below(30)
    script = b'\x63\x82\x01\x20\x88\xa9\x14' + hash160(pre) + b'\x88' + pa + b'\x67' + num(v) + b'\xb1\x75' + pb + b'\x68\xac'
    if g.bits(1):
        yes = b'\x01' if g.bits(3) else b'\x02'                       # MINIMALIF is policy only in v0
        return wrap('wsh', script), 'p2wsh-ln', sp_script, ('wsh', script, [('sig', a, script), pre, yes]), None
    return wrap('wsh', script), 'p2wsh-ln', sp_script, ('wsh', script, [('sig', b, script), b'']), ('cltv', v)


def tr_out(kp, root=b''):
    ix, _ = kp_xonly(kp)
    kp2 = kp_tweaked(kp, tagged(_T_TWEAK, ix + root))
    q, parity = kp_xonly(kp2)
    return b'\x51\x20' + q, ix, parity, kp2


def mk_tr_key(g):
    root = g.bytes(32) if g.bits(3) == 0 else b''
    spk, _, _, kp2 = tr_out(keypair(g.sk()), root)
    return spk, 'p2tr-key', sp_tr_key, kp2, None


def tr_leaf(g, script, items, depth, kind='p2tr-script', ver=0xc0, lock=None):
    leaf = tagged(_T_LEAF, _B[ver] + vs(script))
    h, path = leaf, b''
    for _ in range(depth):
        s = g.bytes(32)
        path += s
        h = tagged(_T_BRANCH, h + s if h < s else s + h)
    spk, ix, parity, kp2 = tr_out(keypair(g.sk()), h)
    return spk, kind, sp_tr_leaf, (script, leaf, _B[ver | parity] + ix + path, items), lock


def mk_tr_script(g):
    r = g.bits(4)
    ka = keypair(g.sk())
    a = b'\x20' + kp_xonly(ka)[0]
    if r < 5:
        return tr_leaf(g, a + b'\xac', [('sig', ka, SEQ_FINAL)], (0, 1, 1, 2, 3)[r])
    if r < 8:                                                       # m-of-n with CHECKSIGADD
        n = 2 + g.below(4)
        m = 1 + g.below(n)
        kps = [ka] + [keypair(g.sk()) for _ in range(n - 1)]
        script = b''.join([b'\x20' + kp_xonly(k)[0] + (b'\xba' if j else b'\xac') for j, k in enumerate(kps)]) + num(m) + b'\x9c'
        on = _subset(g, m, n)
        return tr_leaf(g, script, [('sig', kps[j], SEQ_FINAL) if j in on else b'' for j in reversed(range(n))], g.below(5))
    if r < 12:                                                      # inscription-like envelope
        body = g.bytes(20 + g.below(100 if g.bits(3) else 1500))
        script = a + b'\xac\0\x63\x03ord\x01\x01' + push(b'text/plain') + b'\0'
        script += b''.join([push(body[k:k + 520]) for k in range(0, len(body), 520)]) + b'\x68'
        return tr_leaf(g, script, [('sig', ka, SEQ_FINAL)], 0, 'p2tr-envelope')
    if r == 12:
        return tr_leaf(g, a + b'\xac', [('sig', ka, SEQ_FINAL)], 4 + g.below(25) if g.bits(4) else 128)
    if r == 13:                                                     # vault-like: relative lock in a leaf
        v = _rel(g)
        return tr_leaf(g, num(v) + b'\xb2\x75' + a + b'\xac', [('sig', ka, SEQ_FINAL)], 1, lock=('csv', v))
    if r == 14:                                                     # CHECKSIGVERIFY chain with hash lock
        kb = keypair(g.sk())
        pre = g.bytes(32)
        script = b'\xa8\x20' + sha256(pre).digest() + b'\x88' + a + b'\xad\x20' + kp_xonly(kb)[0] + b'\xac'
        return tr_leaf(g, script, [('sig', kb, SEQ_FINAL), ('sig', ka, SEQ_FINAL), pre], 2)
    kb = keypair(g.sk())                                            # OP_CODESEPARATOR: position of the opcode
    script = a + b'\xad\xab\x20' + kp_xonly(kb)[0] + b'\xac'
    return tr_leaf(g, script, [('sig', kb, u32(2)), ('sig', ka, SEQ_FINAL)], 1)


def mk_odd(g):
    """Rare things that only consensus allows."""
    r = g.below(16)
    k = 'odd'
    if r == 0:
        return b'\x51\x02\x4e\x73', 'p2a', sp_none, None, None
    if r == 1:                                                      # future witness versions
        return _B[0x52 + g.below(15)] + push(g.bytes(2 + g.below(39))), k, sp_fixed_wit, [g.bytes(8)], None
    if r == 2:                                                      # v1 but not 32 bytes
        return b'\x51' + push(g.bytes(33)), k, sp_fixed_wit, [g.bytes(8)], None
    ka = keypair(g.sk())
    if r == 3:                                                      # OP_SUCCESSx
        return tr_leaf(g, b'\x00\x63' + _B[(0x50, 0x62, 0x7e, 0x89, 0xbb, 0xfe)[g.below(6)]] + g.bytes(g.below(20)), [], g.below(3), k)
    if r == 4:                                                      # unknown leaf version
        return tr_leaf(g, g.bytes(1 + g.below(30)), [g.bytes(3)], 1, k, ver=0xc2 + 2 * g.below(30))
    if r == 5:                                                      # unknown public key type in tapscript
        return tr_leaf(g, b'\x21' + g.bytes(33) + b'\xac', [b'\x01' * (1 + g.below(80))], 0, k)
    sk, sk2 = g.sk(), g.sk()
    p, p2 = push(pubkey(sk)), push(pubkey(sk2))
    if r == 6:                                                      # legacy OP_CODESEPARATOR
        s = b'\x51\x75\xab' + p + b'\xac'
        return s, k, sp_script, ('bare', s, [('sig', sk, p + b'\xac')]), None
    if r == 7:                                                      # OP_CODESEPARATOR in P2WSH
        s = p + b'\xad\xab' + p2 + b'\xac'
        return wrap('wsh', s), k, sp_script, ('wsh', s, [('sig', sk2, p2 + b'\xac'), ('sig', sk, s)]), None
    if r == 8:                                                      # a failing signature that must not fail the script (NULLFAIL is policy)
        s = p + b'\xac\x91'
        return wrap('sh', s), k, sp_script, ('sh', s, [('sig', sk2, s)]), None
    if r == 9:                                                      # hash puzzle
        pre = g.bytes(10)
        s = b'\xaa\x20' + dsha(pre) + b'\x87'
        return wrap('sh', s), k, sp_script, ('sh', s, [pre]), None
    if r == 10:                                                     # arithmetic in a bare script
        x, y = 1 + g.below(16), 1 + g.below(16)
        s = b'\x93' + num(x + y) + b'\x87'
        return s, k, sp_script, ('bare', s, [_B[x], _B[y]]), None
    if r == 11:                                                     # anyone can spend
        return b'\x51', k, sp_none, None, None
    if r == 12:                                                     # uncompressed key in P2WSH
        s = push(pubkey(sk, False)) + b'\xac'
        return wrap('wsh', s), k, sp_script, ('wsh', s, [('sig', sk, s)]), None
    if r == 13:                                                     # OP_DEPTH/OP_SWAP juggling
        # stack: sig junk pub -> DEPTH 3 EQUALVERIFY, SWAP, DROP, then pay-to-pubkey-hash
        s = b'\x74\x53\x88\x7c\x75\x76\xa9\x14' + hash160(p[1:]) + b'\x88\xac'
        return wrap('wsh', s), k, sp_script, ('wsh', s, [('sig', sk, s), b'junk', p[1:]]), None
    if r == 14:                                                     # 1-of-3 whose other keys are no points: never parsed
        s = b'\x51' + push(b'\x02' + b'\xff' * 32) + push(g.bytes(33)) + p + b'\x53\xae'
        return wrap('sh', s), k, sp_multi, (1, [sk], s, 'sh'), None
    s = b'\x63' + p + b'\xac\x67' + p2 + b'\xac\x68'                # OP_IF with a many-byte truth value
    return wrap('sh', s), k, sp_script, ('sh', s, [('sig', sk, s), b'\x00\x01']), None


def mk_huge(g):
    """Over 10,000 bytes: no UTXO set may hold it."""
    return b'\x51' * (10001 + g.below(50)), 'oversize', None, None, None


# Weights per 4096 outputs.
_MIX = [(mk_p2wpkh, 1400), (mk_tr_key, 800), (mk_p2pkh, 560), (mk_sh_wpkh, 330), (mk_tr_script, 300),
        (mk_wsh_multi, 190), (mk_sh_multi, 140), (mk_opreturn, 120), (mk_shwsh_multi, 60), (mk_ln, 56),
        (mk_csv, 36), (mk_p2pk, 30), (mk_odd, 28), (mk_bare_multi, 26), (mk_cltv, 20)]
assert sum(n for _, n in _MIX) == 4096


def mix_table(rare):
    """The table of makers; rare > 1 makes the uncommon kinds that many times as frequent, at the cost of P2WPKH."""
    d = dict(_MIX)
    for f in (mk_odd, mk_ln, mk_csv, mk_cltv, mk_p2pk, mk_bare_multi, mk_tr_script):
        n = d[f] * rare if f is not mk_tr_script else d[f] * min(rare, 2)
        d[mk_p2wpkh] -= n - d[f]
        d[f] = n
    assert d[mk_p2wpkh] > 0, 'rare: too large'
    return [f for f, n in d.items() for _ in range(n)]


COINBASE_MAKERS = [mk_p2wpkh, mk_p2wpkh, mk_tr_key, mk_p2pkh, mk_p2pkh, mk_sh_wpkh, mk_p2pk, mk_wsh_multi]
REUSED_MAKERS = {mk_p2pkh, mk_p2wpkh, mk_sh_wpkh, mk_tr_key, mk_tr_script, mk_sh_multi, mk_wsh_multi, mk_shwsh_multi, mk_p2pk}
