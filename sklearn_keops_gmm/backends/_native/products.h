// Sums over the samples of a tile of products of numbers that each of them has.
#pragma once

#include <algorithm>

#include "structures.h"

// As many rows as registers hold the products of with as many others.
constexpr int SQUARE = GROUP == 4 ? 4 : 2;
static_assert(SQUARE <= MAX_BLOCK);

// Adds to sums the products of `ROWS` rows, (., n), with SQUARE other ones, of which
// `columns` are wanted.
template <class T, int ROWS>
void add_products(const Vector<T>* left, const Vector<T>* right, int64_t n,
                  int64_t columns, double* sums, int64_t stride) {
    using V = Vector<T>;
    V found[ROWS * SQUARE] = {};
    for (int64_t i = 0; i < n; i++) {
        V row[ROWS];
        UNROLL for (int k = 0; k < ROWS; k++) row[k] = left[k * n + i];
        UNROLL for (int l = 0; l < SQUARE; l++) {
            const V column = right[l * n + i];
            UNROLL for (int k = 0; k < ROWS; k++) found[k * SQUARE + l] += row[k] * column;
        }
    }
    double added[ROWS * SQUARE];
    sum_each<T>(found, added);
    for (int k = 0; k < ROWS; k++)
        for (int64_t l = 0; l < std::min<int64_t>(SQUARE, columns); l++)
            sums[k * stride + l] += added[k * SQUARE + l];
}

// Adds to sums, (rows, stride), the products of all rows, (rows, n), with SQUARE ones.
template <class T>
void add_all_products(const Vector<T>* left, int64_t rows, const Vector<T>* right,
                      int64_t n, int64_t columns, double* sums, int64_t stride) {
    int64_t j = 0;
    for (; j + SQUARE <= rows; j += SQUARE)
        add_products<T, SQUARE>(left + j * n, right, n, columns, sums + j * stride,
                                stride);
    for (; j < rows; j++)
        add_products<T, 1>(left + j * n, right, n, columns, sums + j * stride, stride);
}
