"""The inner loops of texts, compiled: terms of documents, projection to vectors, postings, the best of all rows."""

from typing import Final

import numpy as np
import numpy.typing as npt

from features.compiled import compiled

Codes = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint16]
Booleans = npt.NDArray[np.bool_]

N_WORDS: Final = 1 << 30
N_GRAMS: Final = 1 << 30
TITLE: Final = 1
AUTHOR: Final = 2
CATEGORY: Final = 3
TEXT: Final = 4
QUERY: Final = 5
END: Final = 6
_SPACE: Final = 32
_FIELDS: Final = 8  # room for a field in a packed term
_GRAM: Final = 3

_BASIS: Final = np.uint64(0xCBF29CE484222325)
_PRIME: Final = np.uint64(0x100000001B3)
_MIX: Final = np.uint64(0xFF51AFD7ED558CCD)
_WORD_SEED: Final = np.uint64(0x9E3779B97F4A7C15)
_GRAM_SEED: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_CATEGORY_SEED: Final = np.uint64(0x165667B19E3779F9)
_PIECE_SEED: Final = np.uint64(0x27D4EB2F165667C5)
_YEAR_SEED: Final = np.uint64(0x85EBCA77C2B2AE63)
_FIRST_YEAR: Final = 1500
_LAST_YEAR: Final = 2100
_SHIFT: Final = np.uint64(32)


@compiled
def _start(seed: np.uint64) -> np.uint64:
    return _BASIS ^ seed


@compiled
def _step(state: np.uint64, code: int) -> np.uint64:
    return (state ^ np.uint64(code)) * _PRIME


@compiled
def _bucket(state: np.uint64, size: int) -> np.int64:
    state ^= state >> _SHIFT
    state *= _MIX
    state ^= state >> _SHIFT
    return np.int64(state & np.uint64(size - 1))


@compiled
def _ideograph(code: int) -> bool:
    """Tell whether a character is a word or half of one by itself: Chinese, Japanese."""
    return 0x2E80 <= code <= 0xA4CF or 0xF900 <= code <= 0xFAFF or 0x1F000 <= code <= 0x3FFFF


@compiled
def _unspaced(code: int) -> bool:
    """Tell whether a character belongs to a script without spaces: Thai, Lao, Tibetan, Burmese, Khmer."""
    return 0x0E00 <= code <= 0x109F or 0x1780 <= code <= 0x17FF or 0x19E0 <= code <= 0x1AAF


@compiled
def _write_pieces(codes: Codes, begin: int, end: int, field: np.int64, found: Longs, n: int) -> int:
    """Write what stands for words in scripts without spaces: characters and pairs, or runs of three letters."""
    for at in range(begin, end):
        if _ideograph(codes[at]):
            one = _step(_start(_PIECE_SEED), codes[at])
            found[n] = _bucket(one, N_WORDS) * _FIELDS + field
            n += 1
            if at + 1 < end and _ideograph(codes[at + 1]):
                found[n] = _bucket(_step(one, codes[at + 1]), N_WORDS) * _FIELDS + field
                n += 1
        elif _unspaced(codes[at]) and at + 2 < end:
            state = _start(_PIECE_SEED)
            for place in range(at, at + 3):
                state = _step(state, codes[place])
            found[n] = _bucket(state, N_WORDS) * _FIELDS + field
            n += 1
    return n


@compiled
def _write_grams(codes: Codes, begin: int, end: int, field: np.int64, found: Longs, n: int) -> int:
    """Write the runs of three letters of a word with a space on either side."""
    for at in range(begin - 1, max(end - 1, begin)):
        state = _start(_GRAM_SEED)
        for place in range(at, at + _GRAM):
            state = _step(state, codes[place] if begin <= place < end else _SPACE)
        found[n] = (N_WORDS + _bucket(state, N_GRAMS)) * _FIELDS + field
        n += 1
    return n


@compiled
def _write_word(codes: Codes, begin: int, end: int, field: np.int64, found: Longs, n: int) -> int:
    """Write the terms of one word; return how many there are now."""
    state = _start(_WORD_SEED)
    for at in range(begin, end):
        state = _step(state, codes[at])
    found[n] = _bucket(state, N_WORDS) * _FIELDS + field
    n = _write_pieces(codes, begin, end, field, found, n + 1)
    n = _write_years(codes, begin, end, field, found, n)
    if field in {TITLE, AUTHOR, QUERY}:
        n = _write_grams(codes, begin, end, field, found, n)
    return n


@compiled
def _write_category(codes: Codes, begin: int, end: int, found: Longs, n: int) -> int:
    """Write the term that a category is as a whole, whatever its words."""
    state, some = _start(_CATEGORY_SEED), False
    for at in range(begin, end):
        if codes[at] > _SPACE:
            state = _step(state, codes[at])
            some = True
    if some:
        found[n] = _bucket(state, N_WORDS) * _FIELDS + CATEGORY
        n += 1
    return n


@compiled
def _write_initials(joined: np.uint64, count: int, field: np.int64, found: Longs, n: int) -> int:
    """Write letters that stood one by one as a word too: J. R. R. Tolkien is also JRR."""
    if count > 1:
        found[n] = _bucket(joined, N_WORDS) * _FIELDS + field
        n += 1
    return n


@compiled
def _write_years(codes: Codes, begin: int, end: int, field: np.int64, found: Longs, n: int) -> int:
    """Write, for a year, its decade and half of it: what is near in time is near for vectors; nobody searches them."""
    if end - begin != 4 or field == QUERY:
        return n
    year = 0
    for at in range(begin, end):
        if not 48 <= codes[at] <= 57:  # 0 to 9
            return n
        year = 10 * year + codes[at] - 48
    if _FIRST_YEAR <= year <= _LAST_YEAR:
        for years in (5, 10):
            found[n] = _bucket(_step(_step(_start(_YEAR_SEED), years), year // years), N_WORDS) * _FIELDS + field
            n += 1
    return n


@compiled
def _write_document(codes: Codes, begin: int, found: Longs) -> tuple[int, int]:
    """Write the packed terms of the document that begins there; return how many, and where it ends."""
    n, at, since, word, initials = 0, begin, begin, -1, 0
    field, joined = np.int64(QUERY), _start(_WORD_SEED)
    while True:
        code = codes[at]
        if code <= _SPACE and word >= 0:
            n = _write_word(codes, word, at, field, found, n)
            if at > word + 1:
                n, initials = _write_initials(joined, initials, field, found, n), 0
            else:
                joined, initials = _step(joined if initials else _start(_WORD_SEED), codes[word]), initials + 1
            word = -1
        if code < _SPACE:
            n, initials = _write_initials(joined, initials, field, found, n), 0
            if field == CATEGORY:
                n = _write_category(codes, since, at, found, n)
            field, since = np.int64(code), at + 1
            if code == END:
                return n, at + 1
        elif code > _SPACE and word < 0:
            word = at
        at += 1


@compiled
def count_terms(codes: Codes, n_documents: int, weights: Singles) -> tuple[Longs, Ints, Singles]:
    """Return offsets, index and value of the terms of marked documents (see `terms.Terms`)."""
    offsets = np.zeros(n_documents + 1, np.int64)
    room = len(codes) + 16
    index, value = np.empty(room, np.int32), np.empty(room, np.float32)
    found = np.empty(4 * len(codes) + 16, np.int64)
    at, n = 0, 0
    for document in range(n_documents):
        n_found, at = _write_document(codes, at, found)
        if n + n_found > room:
            room = 2 * room + n_found
            more_index, more_value = np.empty(room, np.int32), np.empty(room, np.float32)
            more_index[:n], more_value[:n] = index[:n], value[:n]
            index, value = more_index, more_value
        mine = np.sort(found[:n_found])
        begin = n
        for packed in mine:
            term = packed // _FIELDS
            if n == begin or index[n - 1] != term:
                index[n], value[n] = term, 0.0
                n += 1
            value[n - 1] += weights[packed % _FIELDS]
        offsets[document + 1] = n
    return offsets, index[:n].copy(), value[:n].copy()


@compiled
def weigh_terms(
    offsets: Longs, index: Ints, value: Singles, means: Singles, scales: Singles, shares: Singles, out: Singles
) -> None:
    """Write BM25's weight of each term in its document, in (0, 1).

    Of each pair words take the first, runs of letters the second: `means` are mean lengths, `scales` BM25's k1 and
    `shares` its b.
    """
    for row in range(len(offsets) - 1):
        words, grams = np.float32(0.0), np.float32(0.0)
        for at in range(offsets[row], offsets[row + 1]):
            if index[at] < N_WORDS:
                words += value[at]
            else:
                grams += value[at]
        word_bar = scales[0] * (np.float32(1.0) - shares[0] + shares[0] * words / means[0])
        gram_bar = scales[1] * (np.float32(1.0) - shares[1] + shares[1] * grams / means[1])
        for at in range(offsets[row], offsets[row + 1]):
            out[at] = value[at] / (value[at] + (word_bar if index[at] < N_WORDS else gram_bar))


@compiled
def project(offsets: Longs, place: Longs, weight: Singles, axes: Singles, out: Singles) -> Singles:
    """Write each document's weighted sum of its terms' axes, of length one or zero; return the lengths before.

    `place` is each term's row in `axes` or -1, `weight` what it counts for.
    """
    lengths = np.zeros(len(out), np.float32)
    for row in range(len(offsets) - 1):
        mine = out[row]
        mine[:] = 0.0
        for at in range(offsets[row], offsets[row + 1]):
            if place[at] < 0:
                continue
            axis = axes[place[at]]
            for column in range(len(mine)):
                mine[column] += weight[at] * axis[column]
        for entry in mine:
            lengths[row] += entry * entry
        lengths[row] = np.sqrt(lengths[row])
        if lengths[row] > 0.0:
            for column in range(len(mine)):
                mine[column] /= lengths[row]
    return lengths


@compiled
def add_matches(
    offsets: Longs,
    place: Longs,
    of_word: Booleans,
    share: Singles,
    worth: Singles,
    starts: Longs,
    rows: Ints,
    values: Bits,
    halves: Singles,
    likeness: Singles,
    scores: Singles,
) -> None:
    """Add to each row's score what it matches of the words sought: each as it is spelt, or in its runs of letters.

    The terms of sought word i are `offsets[i]:offsets[i + 1]`: `place` in `starts` or -1, whether it stands for the
    word as it is spelt, its `share` in that or in the runs of letters; `worth` is the word's. `likeness` is what
    runs of letters are worth at most where the word is not there, and always.
    """
    spelt, alike = np.zeros(len(scores), np.float32), np.zeros(len(scores), np.float32)
    touched = np.empty(len(scores), np.int32)
    for word in range(len(offsets) - 1):
        n = 0
        for at in range(offsets[word], offsets[word + 1]):
            if place[at] < 0:
                continue
            for posting in range(starts[place[at]], starts[place[at] + 1]):
                row, match = rows[posting], share[at] * halves[values[posting]]
                if spelt[row] == 0.0 and alike[row] == 0.0 and match > 0.0:
                    touched[n] = row
                    n += 1
                if of_word[at]:
                    spelt[row] += match
                else:
                    alike[row] += match
        for row in touched[:n]:
            instead = likeness[0] * alike[row] * alike[row]
            scores[row] += worth[word] * (max(spelt[row], instead) + likeness[1] * alike[row])
            spelt[row] = alike[row] = 0.0


@compiled
def add_products(vectors: Bits, vector: Singles, scores: Singles) -> None:
    """Add the inner product of each row, given as the bits of float16, with a vector.

    A half's exponent is 112 less than a single's: `vector` comes multiplied by 2**112, which is exact. Sums are made
    by halves, so that they run in vector registers, and come out the same wherever a row stands.
    """
    width = len(vector)
    whole = np.empty(width, np.int32)
    product = whole.view(np.float32)
    for row in range(len(vectors)):
        mine = vectors[row]
        for column in range(width):
            bits = np.int32(mine[column])
            whole[column] = ((bits & 0x7FFF) << 13) | ((bits & 0x8000) << 16)
        for column in range(width):
            product[column] *= vector[column]
        left = width
        while left > 1:
            half = (left + 1) // 2
            for column in range(left - half):
                product[column] += product[half + column]
            left = half
        scores[row] += product[0]


@compiled
def _sink(rows: Ints, scores: Singles, start: int, size: int) -> None:
    """Let a row of a heap, the worst on top, sink to its place; of equal scores the later row is the worse."""
    at = start
    while True:
        child = 2 * at + 1
        if child >= size:
            return
        other = child + 1
        if other < size and _worse(rows[other], rows[child], scores):
            child = other
        if not _worse(rows[child], rows[at], scores):
            return
        rows[at], rows[child] = rows[child], rows[at]
        at = child


@compiled
def _worse(first: int, second: int, scores: Singles) -> bool:
    if scores[first] != scores[second]:
        return bool(scores[first] < scores[second])
    return bool(first > second)


@compiled
def best_rows(scores: Singles, eligible: Booleans, least: float, k: int) -> Ints:
    """Return the at most k rows of best score above `least`, best first, of equal ones the earlier.

    `eligible` is (n_rows,), or empty where all rows are.
    """
    kept = np.empty(min(k, len(scores)), np.int32)
    n = 0
    for row in range(len(scores)):
        if not scores[row] > least or (len(eligible) and not eligible[row]):
            continue
        if n < len(kept):
            kept[n] = row
            n += 1
            if n == len(kept):
                for start in range(n // 2 - 1, -1, -1):
                    _sink(kept, scores, start, n)
        elif n and _worse(kept[0], row, scores):
            kept[0] = row
            _sink(kept, scores, 0, n)
    if n < len(kept):
        for start in range(n // 2 - 1, -1, -1):
            _sink(kept, scores, start, n)
    for size in range(n - 1, 0, -1):
        kept[0], kept[size] = kept[size], kept[0]
        _sink(kept, scores, 0, size)
    return kept[:n].copy()
