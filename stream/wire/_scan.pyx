# cython: language_level=3, boundscheck=False, wraparound=False
"""Plain records to columns, at the speed of C. Optional: ``decode.py`` does without it what it does with it.

Nothing of the contract is decided here. What a record says of its series, outcome and weight is looked up by
the very bytes in which it says so; what those bytes mean was found once, by the ordinary decoder. Read here
are the JSON syntax, ``ts`` and the latencies, and those only in their plain forms: ASCII without escapes,
integers of ms, decimals that a double holds exactly before they are scaled. A record with anything else (a
time as text, a null, an exponent, a nested array) is left to the ordinary decoder, whole.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

cdef enum:
    MAX_BYTES = 1000  # of a record; the key of what it says is shorter than the record
    MAX_DIGITS = 15  # of a number: below 2**53 whatever they are

cdef enum Kind:
    OTHER = 0  # not plain
    STRING
    NUMBER
    LITERAL
    OBJECT

cdef enum Field:
    UNKNOWN = 0  # must be well-formed, no more
    ATTRIBUTES
    TS
    LATENCY_MS
    LATENCY_S
    SAID  # decides the series, the outcome or the weight

cdef struct Token:
    Kind kind
    const uint8_t* start
    const uint8_t* end
    uint64_t digits  # of a number, without its point
    int scale  # how many of them stand behind the point

cdef double[23] POWERS  # exact in a double
cdef uint8_t[256] INSIDE  # what may stand in a plain string
cdef int _i
for _i in range(23):
    POWERS[_i] = 10.0 ** _i
for _i in range(256):
    INSIDE[_i] = 0x20 <= _i < 0x80 and _i != 0x22 and _i != 0x5C


def scan(list values, dict known, learn, int64_t[::1] entry, int64_t[::1] ts_ms, double[::1] latency_ms,
         double[::1] latency_s):
    """Fill the columns' elements of all plain records, and return the places of the others.

    ``known`` numbers what records say, by its bytes; what is not in it is asked of ``learn(key, record)``,
    which answers a number, or −1 when the record must be left to the ordinary decoder. The latencies are NaN
    and ts is −1 where absent.
    """
    cdef list others = []
    cdef Py_ssize_t place
    cdef Py_ssize_t size
    cdef uint8_t[MAX_BYTES + 8] key
    cdef PyObject* found
    cdef bytes name
    for place in range(len(values)):
        value = values[place]
        if not PyBytes_CheckExact(value) or PyBytes_GET_SIZE(value) > MAX_BYTES:
            others.append(place)
            continue
        size = _read(<const uint8_t*>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), key,
                     &ts_ms[place], &latency_ms[place], &latency_s[place])
        if size < 0:
            others.append(place)
            continue
        name = PyBytes_FromStringAndSize(<char*>key, size)
        found = PyDict_GetItem(known, name)
        entry[place] = <object>found if found is not NULL else learn(name, value)
        if entry[place] < 0:
            others.append(place)
    return others


cdef Py_ssize_t _read(const uint8_t* p, Py_ssize_t length, uint8_t* key, int64_t* ts_ms,
                      double* latency_ms, double* latency_s) noexcept:
    """One record; returns the length of its key, −1 if it is not plain.

    A value of type bytes ends with a NUL, which no rule below accepts: none runs past the end.
    """
    cdef const uint8_t* end = p + length
    cdef const uint8_t* name
    cdef Py_ssize_t name_length, size = 0
    cdef Field field
    cdef Token token
    ts_ms[0] = -1
    latency_ms[0] = latency_s[0] = float("nan")
    p = _blank(p)
    if p[0] != c"{":
        return -1
    p = _blank(p + 1)
    while True:
        p = _member(p, &name, &name_length, &token, True)
        if p == NULL:
            return -1
        field = _field(name, name_length)
        if field == SAID:
            if token.kind == OBJECT:
                return -1
            key[size] = <uint8_t>name_length
            key[size + 1] = name[0]  # no two fields have both in common
            memcpy(key + size + 2, token.start, token.end - token.start)
            size += 2 + (token.end - token.start)
        elif field == TS:
            if token.kind != NUMBER or token.scale != 0 or token.digits > 253402300799999:
                return -1
            ts_ms[0] = <int64_t>token.digits
        elif field == LATENCY_MS or field == LATENCY_S:
            if token.kind != NUMBER:
                return -1
            if field == LATENCY_MS:
                latency_ms[0] = <double>token.digits / POWERS[token.scale]
            else:
                latency_s[0] = <double>token.digits / POWERS[token.scale]
        elif field == ATTRIBUTES and token.kind != OBJECT:
            return -1
        p = _blank(p)
        if p[0] == c"}":
            break
        if p[0] != c",":
            return -1
        p = _blank(p + 1)
    return size if _blank(p + 1) == end else -1


cdef inline const uint8_t* _blank(const uint8_t* p) noexcept:
    while p[0] == 0x20 or p[0] == 0x0A or p[0] == 0x0D or p[0] == 0x09:
        p += 1
    return p


cdef inline const uint8_t* _string(const uint8_t* p) noexcept:
    """The closing quote of the string whose first character is at p; NULL if it is not plain."""
    while INSIDE[p[0]]:
        p += 1
    return p if p[0] == c'"' else NULL


cdef const uint8_t* _member(const uint8_t* p, const uint8_t** name, Py_ssize_t* name_length, Token* token,
                            bint nested) noexcept:
    """``"name": value``; returns what follows, NULL if it is not plain."""
    cdef const uint8_t* close
    if p[0] != c'"':
        return NULL
    close = _string(p + 1)
    if close == NULL:
        return NULL
    name[0] = p + 1
    name_length[0] = close - p - 1
    p = _blank(close + 1)
    if p[0] != c":":
        return NULL
    return _value(_blank(p + 1), token, nested)


cdef const uint8_t* _value(const uint8_t* p, Token* token, bint nested) noexcept:
    cdef const uint8_t* end
    token.start = p
    token.kind = OTHER
    if p[0] == c'"':
        end = _string(p + 1)
        if end == NULL:
            return NULL
        token.kind = STRING
        end += 1
    elif c"0" <= p[0] <= c"9":
        end = _number(p, token)
        if end == NULL:
            return NULL
        token.kind = NUMBER
    elif p[0] == c"t" and p[1] == c"r" and p[2] == c"u" and p[3] == c"e":
        token.kind = LITERAL
        end = p + 4
    elif p[0] == c"f" and p[1] == c"a" and p[2] == c"l" and p[3] == c"s" and p[4] == c"e":
        token.kind = LITERAL
        end = p + 5
    elif p[0] == c"n" and p[1] == c"u" and p[2] == c"l" and p[3] == c"l":
        token.kind = LITERAL
        end = p + 4
    elif p[0] == c"{" and nested:
        end = _flat_object(p + 1)
        if end == NULL:
            return NULL
        token.kind = OBJECT
    else:
        return NULL
    token.end = end
    return end


cdef const uint8_t* _number(const uint8_t* p, Token* token) noexcept:
    """Digits, and a point with digits behind it; no exponent, no sign, not more than MAX_DIGITS."""
    cdef const uint8_t* start = p
    cdef const uint8_t* point = NULL
    token.digits = 0
    token.scale = 0
    while c"0" <= p[0] <= c"9":
        token.digits = token.digits * 10 + (p[0] - c"0")
        p += 1
    if p - start > MAX_DIGITS or (start[0] == c"0" and p - start > 1):
        return NULL
    if p[0] == c".":
        point = p
        p += 1
        while c"0" <= p[0] <= c"9":
            token.digits = token.digits * 10 + (p[0] - c"0")
            p += 1
        token.scale = <int>(p - point - 1)
        if token.scale == 0 or p - start - 1 > MAX_DIGITS:
            return NULL
    return p  # an exponent is not what may follow a value


cdef const uint8_t* _flat_object(const uint8_t* p) noexcept:
    """An object of scalars, from behind its brace; returns what follows."""
    cdef const uint8_t* name
    cdef Py_ssize_t name_length
    cdef Token token
    p = _blank(p)
    if p[0] == c"}":
        return p + 1
    while True:
        p = _member(p, &name, &name_length, &token, False)
        if p == NULL:
            return NULL
        p = _blank(p)
        if p[0] == c"}":
            return p + 1
        if p[0] != c",":
            return NULL
        p = _blank(p + 1)


cdef inline bint _is(const uint8_t* name, const char* text, Py_ssize_t length) noexcept:
    return memcmp(name, text, length) == 0


cdef Field _field(const uint8_t* name, Py_ssize_t length) noexcept:
    if length == 2:
        return TS if _is(name, b"ts", 2) else SAID if _is(name, b"ok", 2) else UNKNOWN
    if length == 4:
        return SAID if _is(name, b"tier", 4) else UNKNOWN
    if length == 5:
        return SAID if _is(name, b"track", 5) else UNKNOWN
    if length == 6:
        return SAID if _is(name, b"status", 6) or _is(name, b"method", 6) else UNKNOWN
    if length == 7:
        return SAID if _is(name, b"service", 7) or _is(name, b"version", 7) else UNKNOWN
    if length == 8:
        return SAID if _is(name, b"endpoint", 8) else UNKNOWN
    if length == 9:
        return LATENCY_S if _is(name, b"latency_s", 9) else SAID if _is(name, b"namespace", 9) else UNKNOWN
    if length == 10:
        return LATENCY_MS if _is(name, b"latency_ms", 10) else ATTRIBUTES if _is(name, b"attributes", 10) else UNKNOWN
    if length == 11:
        return SAID if _is(name, b"grpc_status", 11) or _is(name, b"sample_rate", 11) else UNKNOWN
    return UNKNOWN
