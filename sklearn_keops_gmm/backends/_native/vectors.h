// Vectors of as many numbers as one instruction takes, and what is computed of them.
#pragma once

#include <cstdint>
#include <utility>

#if defined(__AVX__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

// In bytes; each extension module is compiled for one kind of processor.
#ifndef VECTOR_BYTES
#define VECTOR_BYTES 16
#endif

// Of loops over registers, which have to disappear.
#define UNROLL _Pragma("GCC unroll 64")

template <class T>
struct Format;

template <>
struct Format<double> {
    typedef double Vector __attribute__((vector_size(VECTOR_BYTES)));
    typedef int64_t Integer;
    typedef int64_t Integers __attribute__((vector_size(VECTOR_BYTES)));
    typedef uint64_t Bits __attribute__((vector_size(VECTOR_BYTES)));
    static constexpr int mantissa_bits = 52, bias = 1023;
    static constexpr int64_t mantissa_mask = (int64_t(1) << 52) - 1;
    static constexpr double to_integer = 0x1.8p52, lowest_exponent = -1022;
    // (2^f - 1) / f on [-1/2, 1/2], interpolated at Chebyshev's points; off by 8e-18.
    static constexpr double exp2_terms[] = {
        0x1.62e42fefa39efp-1,  0x1.ebfbdff82c598p-3,  0x1.c6b08d704a0c2p-5,
        0x1.3b2ab6fba1ddap-7,  0x1.5d87fe78a5276p-10, 0x1.430913096fd9fp-13,
        0x1.ffcbfc670dcd4p-17, 0x1.62bfd47773353p-20, 0x1.b524fae627834p-24,
        0x1.e6063f7217bc6p-28, 0x1.e9d3fe3952179p-32};
    static constexpr int exp2_degree = 11, log2_degree = 9;
};

template <>
struct Format<float> {
    typedef float Vector __attribute__((vector_size(VECTOR_BYTES)));
    typedef int32_t Integer;
    typedef int32_t Integers __attribute__((vector_size(VECTOR_BYTES)));
    typedef uint32_t Bits __attribute__((vector_size(VECTOR_BYTES)));
    static constexpr int mantissa_bits = 23, bias = 127;
    static constexpr int32_t mantissa_mask = (int32_t(1) << 23) - 1;
    static constexpr float to_integer = 0x1.8p23f, lowest_exponent = -126;
    // Off by 5e-9.
    static constexpr float exp2_terms[] = {0x1.62e430p-1f, 0x1.ebfbe0p-3f,
                                           0x1.c6af6cp-5f, 0x1.3b2a54p-7f,
                                           0x1.5f0890p-10f, 0x1.44138ap-13f};
    static constexpr int exp2_degree = 6, log2_degree = 4;
};

template <class T>
using Vector = typename Format<T>::Vector;
template <class T>
using Integer = typename Format<T>::Integer;
template <class T>
using Integers = typename Format<T>::Integers;
template <class T>
using Bits = typename Format<T>::Bits;
template <class T>
constexpr int LANES = VECTOR_BYTES / sizeof(T);

template <class T>
inline Vector<T> all(T x) {
    return x - Vector<T>{};
}

// As many doubles.
template <class T>
struct Wide {
    typedef double Vector __attribute__((vector_size(LANES<T> * sizeof(double))));
};

template <class V>
inline V largest(V a, V b) {
    return a > b ? a : b;  // b where a is NaN
}

inline Vector<double> root(Vector<double> x) {
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
    return _mm512_maskz_sqrt_pd(0xff, x);  // of the other gcc warns
#elif VECTOR_BYTES == 32 && defined(__AVX__)
    return _mm256_sqrt_pd(x);
#else
    Vector<double> found;
    UNROLL for (int l = 0; l < LANES<double>; l++) found[l] = __builtin_sqrt(x[l]);
    return found;
#endif
}

// Tells whether a comparison is true anywhere.
template <class T>
inline bool any(Integers<T> mask) {
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
    return _mm512_test_epi64_mask((__m512i)mask, (__m512i)mask);
#elif VECTOR_BYTES == 32 && defined(__AVX__)
    return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#else
    Integer<T> found = 0;
    UNROLL for (int l = 0; l < LANES<T>; l++) found |= mask[l];
    return found;
#endif
}

// Returns the numbers of two vectors, one after the other, at so many places.
template <class T, size_t... places>
inline Vector<T> pick(Vector<T> a, Vector<T> b) {
#ifdef __clang__
    return __builtin_shufflevector(a, b, places...);
#else
    return __builtin_shuffle(a, b, Integers<T>{places...});
#endif
}

// Exchanges the squares of `S` x `S` numbers above and below the diagonals of blocks.
template <class T, int S, size_t... I>
inline void exchange(Vector<T>& a, Vector<T>& b, std::index_sequence<I...>) {
    constexpr int L = LANES<T>;
    const Vector<T> upper = pick<T, (I & S ? L + I - S : I)...>(a, b);
    b = pick<T, (I & S ? L + I : I + S)...>(a, b);
    a = upper;
}

// Turns rows of a square of numbers into its columns.
template <class T, int S = 1>
inline void transpose(Vector<T> (&rows)[LANES<T>]) {
    if constexpr (S < LANES<T>) {
        constexpr auto lanes = std::make_index_sequence<LANES<T>>();
        UNROLL for (int k = 0; k < LANES<T>; k++)
            if (!(k & S)) exchange<T, S>(rows[k], rows[k + S], lanes);
        transpose<T, 2 * S>(rows);
    }
}

// Returns the least of the numbers of a vector.
template <class T, int S = LANES<T> / 2, size_t... I>
inline T lowest(Vector<T> vector, std::index_sequence<I...> lanes) {
    if constexpr (S == 0) {
        return vector[0];
    } else {
        const Vector<T> other = pick<T, (I ^ S)...>(vector, vector);
        return lowest<T, S / 2>(other < vector ? other : vector, lanes);
    }
}

// Returns the sums of pairs of the B / 2 numbers in each block of two vectors' B.
template <class T, int B, size_t... I>
inline Vector<T> fold(Vector<T> a, Vector<T> b, std::index_sequence<I...>) {
    constexpr int H = B / 2;
    return pick<T, (I / H * B + I % H)...>(a, b) +
           pick<T, (I / H * B + I % H + H)...>(a, b);
}

// Writes the sum of each of K vectors, of blocks of B numbers that are left to add.
template <class T, int K, int B = LANES<T>, int N>
inline void sum_each(const Vector<T> (&vectors)[N], double (&sums)[K]) {
    if constexpr (B == 1) {
        UNROLL for (int k = 0; k < K; k++)
            sums[k] = vectors[k / LANES<T>][k % LANES<T>];
    } else {
        constexpr auto lanes = std::make_index_sequence<LANES<T>>();
        Vector<T> folded[(N + 1) / 2];
        UNROLL for (int k = 0; k < N / 2; k++)
            folded[k] = fold<T, B>(vectors[2 * k], vectors[2 * k + 1], lanes);
        if constexpr (N % 2)
            folded[N / 2] = fold<T, B>(vectors[N - 1], Vector<T>{}, lanes);
        sum_each<T, K, B / 2>(folded, sums);
    }
}

template <class T>
inline double sum(Vector<T> vector) {
    const Vector<T> vectors[1] = {vector};
    double sums[1];
    sum_each<T>(vectors, sums);
    return sums[0];
}

// 2^x for x <= 0; 0 where that is below the normal numbers, or the least of them, or x
// is NaN. Also where x is not above a larger number.
template <class T>
inline Vector<T> exp2(Vector<T> x, T above = Format<T>::lowest_exponent) {
    using F = Format<T>;
    const Vector<T> shifted = x + F::to_integer;
    const Vector<T> f = x - (shifted - F::to_integer);
    Vector<T> power = all<T>(F::exp2_terms[F::exp2_degree - 1]);
    UNROLL for (int i = F::exp2_degree - 2; i >= 0; i--)
        power = power * f + F::exp2_terms[i];
    power = power * f + T(1);
    const Bits<T> scaled = (Bits<T>)power + ((Bits<T>)shifted << F::mantissa_bits);
    return (Vector<T>)(scaled & (Bits<T>)(x > above));
}

// log2(x) of normal x > 0, by the series of atanh.
template <class T>
inline Vector<T> log2(Vector<T> x) {
    using F = Format<T>;
    const Integers<T> bits = (Integers<T>)x;
    const Integers<T> one = Integers<T>{} + F::bias;
    const Vector<T> above =
        (Vector<T>)((bits & F::mantissa_mask) | (one << F::mantissa_bits));
    const Integers<T> halve = above > T(1.41421356237309505);
    const Vector<T> mantissa = halve ? above * T(0.5) : above;
    const Integers<T> exponent = (bits >> F::mantissa_bits) - F::bias - halve;
    const Vector<T> t = (mantissa - T(1)) / (mantissa + T(1)), square = t * t;
    Vector<T> series = all<T>(T(1.0 / (2 * F::log2_degree + 1)));
    UNROLL for (int i = F::log2_degree - 1; i >= 0; i--)
        series = series * square + T(1.0 / (2 * i + 1));
    return __builtin_convertvector(exponent, Vector<T>) +
           t * series * T(2.88539008177792681472);
}
