// The nearest of very many means, which are in groups: those in groups near a point are
// compared with it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "memory.h"
#include "vectors.h"

// Points in columns, some at a time, after each run of them infinitely far ones.
template <class T>
class PointTiles {
  public:
    static constexpr int N = 4, SIZE = N * LANES<T>;

    PointTiles(int64_t n_tiles, int64_t D) : D(D), columns(n_tiles * D * SIZE) {
        std::fill_n(columns + 0, n_tiles * D * SIZE,
                    std::numeric_limits<T>::infinity());
    }

    static int64_t n_for(int64_t n_points) { return (n_points + SIZE - 1) / SIZE; }

    // Writes points, (n, D), from a tile on.
    void write(const T* points, int64_t n, int64_t tile) {
        T* first = columns + tile * D * SIZE;
        for (int64_t i = 0; i < n; i++)
            for (int64_t a = 0; a < D; a++)
                first[(i / SIZE * D + a) * SIZE + i % SIZE] = points[i * D + a];
    }

    // Writes squared distances, (SIZE), of the points in a tile from x, (D); returns the
    // least of them.
    T squared_distances(int64_t tile, const T* x, Vector<T>* out) const {
        const T* first = columns + tile * D * SIZE;
        const auto* column = reinterpret_cast<const Vector<T>*>(first);
        Vector<T> sums[N] = {};
        for (int64_t a = 0; a < D; a++, column += N)
            UNROLL for (int v = 0; v < N; v++) {
                const Vector<T> z = x[a] - column[v];
                sums[v] += z * z;
            }
        UNROLL for (int v = 0; v < N; v++) out[v] = sums[v];
        Vector<T> least = out[0];
        UNROLL for (int v = 1; v < N; v++) least = out[v] < least ? out[v] : least;
        return lowest<T>(least, std::make_index_sequence<LANES<T>>());
    }

  private:
    const int64_t D;
    const Array<T> columns;
};

// Groups of means: the centres, (groups, D), and the means, (M, D), group by group.
template <class T>
struct Groups {
    int64_t n_groups, M, D;
    const T *centres, *means;
    const int64_t* bounds;  // (groups + 1)
};

template <class T>
class Nearest {
    static constexpr int SIZE = PointTiles<T>::SIZE;
    using Found = std::pair<T, int64_t>;

  public:
    Nearest(const Groups<T>& given, int64_t n_probes)
        : given(given),
          n_probes(n_probes),
          centres(PointTiles<T>::n_for(given.n_groups), given.D),
          firsts(first_tiles(given)),
          means(firsts.back(), given.D),
          probes(n_probes) {
        centres.write(given.centres, given.n_groups, 0);
        for (int64_t g = 0; g < given.n_groups; g++)
            means.write(given.means + given.bounds[g] * given.D, size_of(g), firsts[g]);
    }

    // Writes how far the nearest means are from points, (N, D), squared, and which they
    // are, the nearest first; where groups have too few this again: (N, count).
    void find(const T* points, int64_t N, int64_t count, T* distances, int64_t* places) {
        // Those near the same group follow each other, so that it is read from the cache.
        std::vector<int64_t> probed(N * n_probes);
        std::vector<std::pair<int64_t, int64_t>> order(N);
        for (int64_t i = 0; i < N; i++) {
            probe(points + i * given.D, probed.data() + i * n_probes);
            order[i] = {probed[i * n_probes], i};
        }
        std::sort(order.begin(), order.end());
        for (const auto& [group, i] : order)
            find_in(probed.data() + i * n_probes, points + i * given.D, count,
                    distances + i * count, places + i * count);
    }

  private:
    static std::vector<int64_t> first_tiles(const Groups<T>& given) {
        std::vector<int64_t> firsts(1, 0);
        for (int64_t g = 0; g < given.n_groups; g++) {
            const int64_t size = given.bounds[g + 1] - given.bounds[g];
            firsts.push_back(firsts.back() + PointTiles<T>::n_for(size));
        }
        return firsts;
    }

    int64_t size_of(int64_t g) const { return given.bounds[g + 1] - given.bounds[g]; }

    // Writes the groups nearest to a point, of those at a distance below infinity.
    void probe(const T* x, int64_t* groups) {
        for (int64_t p = 0; p < n_probes; p++)
            probes[p] = {std::numeric_limits<T>::infinity(), p};
        for (int64_t start = 0; start < given.n_groups; start += SIZE) {
            centres.squared_distances(start / SIZE, x, squares);
            const int64_t n = std::min<int64_t>(SIZE, given.n_groups - start);
            for (int64_t k = 0; k < n; k++)
                if (numbers()[k] < probes.back().first) insert(numbers()[k], start + k);
        }
        for (int64_t p = 0; p < n_probes; p++) groups[p] = probes[p].second;
    }

    // In place of the farthest.
    void insert(T distance, int64_t group) {
        int64_t p = n_probes - 1;
        for (; p > 0 && distance < probes[p - 1].first; p--) probes[p] = probes[p - 1];
        probes[p] = {distance, group};
    }

    void find_in(const int64_t* groups, const T* x, int64_t count, T* distances,
                 int64_t* places) {
        found.clear();
        if (count == 1)
            found.push_back(nearest(groups, x));
        else
            gather(groups, x);
        const int64_t n = std::min<int64_t>(count, found.size());
        std::nth_element(found.begin(), found.begin() + n - 1, found.end());
        std::sort(found.begin(), found.begin() + n);
        for (int64_t k = 0; k < count; k++) {
            distances[k] = found[k < n ? k : 0].first;
            places[k] = found[k < n ? k : 0].second;
        }
    }

    // Returns the nearest mean of groups; where all are too far away their first.
    Found nearest(const int64_t* groups, const T* x) {
        Found best{std::numeric_limits<T>::infinity(), given.bounds[groups[0]]};
        each_tile(groups, x, [&](T least, int64_t place, int64_t) {
            if (!(least < best.first)) return;
            const T* lane = std::find(numbers(), numbers() + SIZE, least);
            best = {least, place + (lane - numbers())};
        });
        return best;
    }

    void gather(const int64_t* groups, const T* x) {
        each_tile(groups, x, [&](T, int64_t place, int64_t n) {
            for (int64_t k = 0; k < n; k++)
                found.push_back({in_order(numbers()[k]), place + k});
        });
    }

    // Calls a function with the least distance in each tile of groups, where it begins,
    // and of how many means it is.
    template <class Function>
    void each_tile(const int64_t* groups, const T* x, Function function) {
        for (int64_t p = 0; p < n_probes; p++) {
            const int64_t g = groups[p], end = given.bounds[g + 1];
            int64_t tile = firsts[g];
            for (int64_t at = given.bounds[g]; at < end; at += SIZE, tile++) {
                const T least = means.squared_distances(tile, x, squares);
                function(least, at, std::min<int64_t>(SIZE, end - at));
            }
        }
    }

    // What compares with all others, as NaN does not.
    static T in_order(T distance) {
        return distance == distance ? distance : std::numeric_limits<T>::infinity();
    }

    const T* numbers() const { return reinterpret_cast<const T*>(squares); }

    const Groups<T> given;
    const int64_t n_probes;
    PointTiles<T> centres;
    const std::vector<int64_t> firsts;  // tiles of groups
    PointTiles<T> means;
    std::vector<Found> probes, found;
    Vector<T> squares[PointTiles<T>::N];
};
