"""What stands in the messages of the corpus: values of JSON, what is almost one, bytes to put in anywhere."""

from __future__ import annotations

from typing import Final

WORDS: Final = {
    "event_type": ("page_view", "search", "product_view", "add_to_cart", "remove_from_cart", "checkout", "purchase"),
    "device": ("mobile", "desktop", "tablet"),
    "status": ("placed", "cancelled", "refunded"),
}
"""The contract's vocabularies, in the order of their codes."""

CUSTOMERS: Final = (
    *("c1", "c2", "C1", "a\nb", "\n", " ", "Zoë", "🍳", "\x00", 'quo"te', "back\\slash", "1", "null"),
    *("x" * 511, "x" * 512, "x" * 513, "é" * 256, "é" * 256 + "x", "🍳" * 128),
)
"""Some of them around the bound of 512 bytes, in characters of one, two and four."""
TEXTS: Final = (
    *("", "toys", "Küche", "🍳", "DE", "\x00", "line\u2028end", "a/b", "\u007f", "null", "1.0", "é"),
    *("x" * 300, "x" * 1_023, "x" * 1_024, "x" * 1_025, "é" * 512, "é" * 512 + "x", "🍳" * 256, "\x01" * 1_024),
)
"""Some of them around the bound of 1,024 bytes."""

NUMBERS: Final = (
    *rb"""
    0 -0 -0.0 1 -1 1.0 1.00000000000000000000 2.5 1e2 1E+2 10e-1 0.1e1 100e-2 1e-1 1e0 17E+11 0.5 0e5 0e400 0.0e-400
    -0e1 5e-324 1e-400 -1e-400 0e99999999999999999999999 0.0e-99999999999999999999999 1e99999999999999999999999
    1e-99999999999999999999999 9007199254740993 9007199254740993.0 9223372036854775807 9223372036854775808
    9223372036854775808.0 -9223372036854775808 -9223372036854775809 18446744073709551615 18446744073709551616
    1e18 1e19 1e30 1e308 1e309 1e400 -1e400 1e4299 1e4300 1e9999 1e999999999 -1e999999999 999999999999.99 1e12
    1000000000000.00000001 1000000000000.0001 1000000000001 0.005 1.015 253402300799999 253402300800000
    -62135596800000 -62135596800001 1700000000000.5 0.1 1e-7
    """.split(),
    *(b"9" * digits for digits in (20, 4_299, 4_300, 4_301, 5_000)),
    b"-" + b"9" * 4_300,
    b"1" + b"0" * 400,
    b"1." + b"0" * 500,
    b"1" + b"0" * 5_000 + b"e-4999",
    b"0." + b"0" * 5_000 + b"1e5001",
    b"0." + b"3" * 400,
    b"1" + b"0" * 4_299 + b".0",
)
NOT_NUMBERS: Final = (
    *rb"""
    NaN Infinity -Infinity nan inf +1 01 -01 .5 1. 1.e5 1e 1e+ - --1 0x10 1_000 1,5 00 -NaN 1e5.5 1f True None undefined
    """.split(),
    b"1 2",
    "\N{ARABIC-INDIC DIGIT ONE}".encode(),
    "\N{FULLWIDTH DIGIT ONE}".encode(),
)
STRINGS: Final = (
    *rb"""
    "" "c1" "\u0063\u0031" "\u0000" "\/\b\f\n\r\t\"\\" "\ud83c\udf73" "1" "mobile" "\u00e9\u00E9" "purchase" "PLACED"
    "[1" "{\"a\":1}" "NaN"
    """.split(),
    *(b'" "', b'"placed "', b'"\x7f"'),
    *(f'"{text}"'.encode() for text in ("é", "e\u0301", "\U0010ffff", "\uffff", "\ufeff", "\u2028")),
    b'"' + b"y" * 70_000 + b'"',
    *(b'"' + b"y" * count + b'"' for count in (511, 512, 513, 1_023, 1_024, 1_025)),
    *(
        b'"' + text.encode() + b'"'
        for text in ("é" * 255 + "z", "é" * 256, "é" * 256 + "z", "é" * 512, "é" * 512 + "z")
    ),
    *(b'"' + text.encode() + b'"' for text in ("🍳" * 128, "🍳" * 128 + "z", "🍳" * 256, "🍳" * 256 + "z")),
    *(b'"' + rb"\u00e9" * 256 + more + b'"' for more in (b"", b"z")),
    *(b'"' + rb"\ud83c\udf73" * 128 + more + b'"' for more in (b"", b"z")),
)
"""The last ones are of as many bytes of UTF-8 as an id or another text may have, and of one more or fewer."""
NOT_STRINGS: Final = (
    *rb"""
    "\ud800" "\udc00" "\ud800\ud800" "\udf73\ud83c" "\ud83c" "\ud83cx" "\u12" "\u12g4" "\x41" 'c1' " "c1 c1" "a""b"
    "\ "\" `c1` "\\ud83c "\\\ud83c" "\ud83c\\udf73"
    """.split(),
    *(b'"\x00"', b'"\x1f"', b'"\n"', b'"\t"', b'"\xff"', b'"\xc3"', b'"\xc3\x28"', b'"\xed\xa0\x80"'),
    *(b'"\xed\xb0\x80"', b'"\xf4\x90\x80\x80"', b'"\xc0\xaf"', b'"\xe0\x80\xaf"', b'"\xf8\x88\x80\x80\x80"'),
)
OTHERS: Final = (
    *rb"""
    null true false [] {} [null] [1,2] {"a":{"b":[{}]}} [{}] [{},{}] [[]] ["x"] [{"quantity":1.0,"unit_price":1}]
    [{"quantity":2e0},{"quantity":null}] [{"quantity":1e30,"x":[{}]}] [{"category":""}] [{"quantity":0}]
    [{"quantity":1.5}] [{"unit_price":-0.01}] [{"unit_price":1e13}] [{"product_id":5}] [{},5]
    [{"quantity":1,"quantity":2.0}] [{"quantity":"x","quantity":2}] [{"quantity":2,"quantity":"x"}]
    [{"\u0071uantity":3.0}] [{"unit_price":"1"}] [{"unit_price":true}] [{"quantity":true}] {"0":{}}
    [{"category":null,"product_id":"\u0000"}]
    """.split(),
    *(b"[" + b"{}," * (lines - 1) + b"{}]" for lines in (9_999, 10_000, 10_001, 20_000)),
    *(b'[{"product_id":"' + b"y" * count + b'"}]' for count in (512, 513)),
    *(b'[{},{"category":"' + "é".encode() * 512 + more + b'"}]' for more in (b"", b"z")),
)
"""The last ones are of as many lines, or bytes of a line's text, as an order may have, and of more or fewer."""
NOT_OTHERS: Final = (
    *rb"""
    nul nulll NULL tru [ { ] } [1,] [,1] {,} {"a"} {"a":} {"a":1,} {a:1} {1:1} /*c*/1 1//c [} {] [1]] {}} : ,
    """.split(),
    *(b"", b"[1 2]", b'{"a" 1}', b'{"a":1 "b":2}', b"\xff", b"\x00"),
)
NOT_VALUES: Final = (*NOT_NUMBERS, *NOT_STRINGS, *NOT_OTHERS)

SNIPPETS: Final = (
    *rb'NaN Infinity 1e400 \ud800 \u0000 " \ { } [ ] , : null 0 .0 e1 - // ""'.split(),
    *(b"", b"\x00", b"\xff", b"\xc3", b"\xef\xbb\xbf", b" ", b"\n", b"\t", b"\x0b", b"\x0c", b"\xa0"),
    *("\u00a0".encode(), "\u2003".encode()),
)
SPACES: Final = (b" ", b"\n", b"\r\n", b"\t", b"  ", b" \t\r\n ")
NOT_SPACES: Final = (b"\x0b", b"\x0c", b"\xa0", "\u00a0".encode(), b"\x00", "\ufeff".encode(), b"\x1f", b"\x85")
DEPTHS: Final = (2, 30, 200, 450)
TOO_DEEP: Final = 100_000
LARGE_BYTES: Final = 5 * 1024 * 1024
