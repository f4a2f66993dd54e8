// Sums in which each sample has few components, its candidates, and all others none.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "memory.h"
#include "few.h"

// What a search reads and writes. N samples have K candidates each, the best first and
// -1 where there are no more; those with the same best one, their leader, lie side by
// side in `order`. M components have `n_neighbours` each, themselves first.
template <class T>
struct Candidates {
    int64_t M, D, K, n_neighbours, n_renewed;
    const T *rows, *packed;         // (N, D), (M, width)
    const int64_t *order, *bounds;  // (N), (M + 1)
    const int32_t* neighbours;      // (M, n_neighbours)
    int64_t n_hops, step;
    int32_t* candidates;            // (N, K)
    T* levels;                      // (N, K): their log-densities, to base 2
    int32_t* renewed;               // (M, n_renewed): the neighbours from now on
};

// How unlikely a component can be, beside the leader of a sample, to count in full for
// how near the two are: as the binary logarithm of their ratio.
template <class T>
constexpr T FARTHEST = -40;

// Finds the best candidates of each sample among its old ones, the neighbours of its
// leader, a few of theirs, and what the other samples beside it have.
template <class T, class Density>
class Search {
    using V = Vector<T>;
    using I = Integers<T>;

  public:
    Search(const Candidates<T>& given, const Density& density)
        : given(given),
          density(density),
          listed(given.M),
          place(given.M),
          seen(given.M, -1),
          visited(given.M),
          lanes(given.M),
          sums(given.M),
          x(given.D * GROUP),
          z(given.D * GROUP),
          best(given.K * GROUP),
          ids(given.K * GROUP) {}

    // All samples that a component leads.
    void lead(int64_t leader) {
        const int64_t first = given.bounds[leader], last = given.bounds[leader + 1];
        begin(leader);
        total = 0;
        for (int64_t start = first, count; start < last; start += count) {
            count = last - start;
            if (GROUP > 2 && count > 2 * LANES<T>)
                count = tile<GROUP>(start, count);
            else if (count > LANES<T>)
                count = tile<2>(start, count);
            else
                count = tile<1>(start, count);
        }
        renew(leader, first < last);
    }

  private:
    void begin(int64_t leader) {
        stamp = leader;
        listed_count = 0;
        const int32_t* near = given.neighbours + leader * given.n_neighbours;
        add(leader);
        for (int64_t g = 0; g < given.n_neighbours; g++) add(near[g]);
        for (int64_t h = 0; h < given.n_hops; h++) {
            const uint64_t chance = mixed(leader, h);
            const int64_t n = given.n_neighbours;
            const int64_t through = near[chance % n];
            add(given.neighbours[through * n + (chance >> 32) % n]);
        }
        add(mixed(leader, -1) % given.M);
        shared = listed_count;
    }

    // What looks like chance, and is the same again (Steele, Lea and Flood, 2014).
    uint64_t mixed(int64_t leader, int64_t turn) const {
        uint64_t x = (given.step * given.M + leader) * 1024 + turn;
        x += 0x9e3779b97f4a7c15u;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
        return x ^ (x >> 31);
    }

    void add(int64_t j) {
        if (seen[j] == stamp) return;
        seen[j] = stamp;
        const int64_t slot = place[j] = listed_count++;
        listed[slot] = j;
        visited[slot] = -1;
        lanes[slot] = 0;
        sums[slot] = V{};
    }

    // As many of `left` samples as go into COUNT vectors, from one in `order` on.
    template <int COUNT>
    int64_t tile(int64_t start, int64_t left) {
        const int64_t n = std::min<int64_t>(left, COUNT * LANES<T>);
        const int64_t* of = given.order + start;
        T* columns = reinterpret_cast<T*>(x + 0);
        for (int64_t i = 0; i < COUNT * LANES<T>; i++) {
            const T* row = given.rows + of[std::min(i, n - 1)] * given.D;
            for (int64_t a = 0; a < given.D; a++)
                columns[a * COUNT * LANES<T> + i] = row[a];
        }
        std::fill_n(best + 0, given.K * COUNT,
                    all<T>(-std::numeric_limits<T>::infinity()));
        std::fill_n(ids + 0, given.K * COUNT, I{} - 1);
        total += COUNT * LANES<T>;
        for (int64_t slot = 0; slot < shared; slot++) evaluate<COUNT>(slot);
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < given.K; c++) {
                const int64_t j = given.candidates[of[i] * given.K + c];
                if (j < 0) continue;
                add(j);
                const int64_t slot = place[j];
                if (slot < shared || visited[slot] == start) continue;
                visited[slot] = start;
                evaluate<COUNT>(slot);
            }
        write<COUNT>(of, n);
        return n;
    }

    template <int COUNT>
    void evaluate(int64_t slot) {
        const int64_t j = listed[slot];
        V found[COUNT];
        density.template operator()<COUNT>(given.packed + j * density.width(), x,
                                           best + (given.K - 1) * COUNT, z, found);
        if (slot == 0) std::copy_n(found, COUNT, lead_levels);
        UNROLL for (int v = 0; v < COUNT; v++)
            sums[slot] += largest(found[v] - lead_levels[v], all<T>(FARTHEST<T>));
        lanes[slot] += COUNT * LANES<T>;
        UNROLL for (int v = 0; v < COUNT; v++) insert<COUNT>(v, found[v], j);
    }

    // Takes in a component where it is better than the last of the best.
    template <int COUNT>
    void insert(int v, V value, int64_t j) {
        const int64_t K = given.K;
        I better = value > best[(K - 1) * COUNT + v];
        if (!any<T>(better)) return;
        I id = I{} + static_cast<Integer<T>>(j);
        for (int64_t at = v; at < K * COUNT; at += COUNT) {
            const V held = best[at];
            const I whose = ids[at];
            better = value > held;
            best[at] = better ? value : held;
            ids[at] = better ? id : whose;
            value = better ? held : value;
            id = better ? whose : id;
        }
    }

    template <int COUNT>
    void write(const int64_t* of, int64_t n) {
        const T* found = reinterpret_cast<const T*>(best + 0);
        const Integer<T>* whose = reinterpret_cast<const Integer<T>*>(ids + 0);
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < given.K; c++) {
                const int64_t from = c * COUNT * LANES<T> + i;
                given.candidates[of[i] * given.K + c] = whose[from];
                given.levels[of[i] * given.K + c] = found[from];
            }
    }

    // Its neighbours are those that are most likely for its samples, on average. One
    // without samples keeps what it has.
    void renew(int64_t leader, bool leads) {
        int32_t* out = given.renewed + leader * given.n_renewed;
        const int64_t others = given.n_renewed - 1;
        std::fill_n(out, given.n_renewed, static_cast<int32_t>(leader));
        if (!leads) {
            const int32_t* old = given.neighbours + leader * given.n_neighbours;
            std::copy_n(old, std::min(given.n_neighbours, given.n_renewed), out);
            return;
        }
        ranks.clear();
        for (int64_t slot = 1; slot < listed_count; slot++) {
            const double near = sum<T>(sums[slot]);
            const double unseen = (total - lanes[slot]) * FARTHEST<T>;
            ranks.push_back({-(near + unseen), listed[slot]});
        }
        const int64_t n = std::min<int64_t>(ranks.size(), others);
        // The best ones first: of others little is computed then.
        std::partial_sort(ranks.begin(), ranks.begin() + n, ranks.end());
        for (int64_t g = 0; g < n; g++) out[1 + g] = ranks[g].second;
    }

    const Candidates<T>& given;
    const Density density;
    int64_t stamp = -1, listed_count = 0, shared = 0, total = 0;
    // Of components that are compared with the samples of a leader, by their places.
    const Array<int32_t> listed, place;
    std::vector<int64_t> seen;
    const Array<int64_t> visited, lanes;
    const Array<V> sums;
    const Array<V> x, z, best;
    const Array<I> ids;
    V lead_levels[GROUP];
    std::vector<std::pair<double, int32_t>> ranks;
};

// Sorts numbers of items by their keys, which are below `n_groups`; those with a
// negative one are left out.
inline void group(const int32_t* keys, int64_t count, int64_t n_groups, int64_t* bounds,
                  int64_t* order) {
    std::fill_n(bounds, n_groups + 1, int64_t(0));
    for (int64_t i = 0; i < count; i++)
        if (keys[i] >= 0) bounds[keys[i] + 1]++;
    for (int64_t j = 0; j < n_groups; j++) bounds[j + 1] += bounds[j];
    std::vector<int64_t> next(bounds, bounds + n_groups);
    for (int64_t i = 0; i < count; i++)
        if (keys[i] >= 0) order[next[keys[i]]++] = i;
}

// A candidate whose share of a sample is below is none: far below the rounding of sums.
constexpr double NO_SHARE = 0x1p-44;

// Turns log-densities, (N, K), into weighted shares of the candidates, and says in
// `keys` which have one. Returns the sum of weights times the logarithm of their sum.
template <class T>
double share(const int32_t* candidates, const T* weights, int64_t count, int64_t K,
             T* levels, int32_t* keys) {
    double total = 0;
    for (int64_t i = 0; i < count; i++, levels += K, candidates += K, keys += K) {
        const double weight = weights ? weights[i] : 1.0, top = levels[0];
        std::fill_n(keys, K, -1);
        if (weight == 0) continue;
        double sum = 0;
        for (int64_t c = 0; c < K; c++)
            sum += levels[c] = std::isfinite(top) ? std::exp2(levels[c] - top) : 0;
        total += weight * (top * std::log(2.0) + std::log(sum > 0 ? sum : 1.0));
        for (int64_t c = 0; c < K; c++) {
            if (levels[c] > NO_SHARE * sum) keys[c] = candidates[c];
            levels[c] = weight * levels[c] / sum;
        }
    }
    return total;
}

