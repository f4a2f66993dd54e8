// The search for better candidates of samples.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "candidates.h"
#include "memory.h"
#include "vectors.h"

// What a search reads and writes. N samples have K candidates each and -1 where there are
// no more; those with the same first one, their leader, lie side by side in `order`. M
// components have `n_neighbours` each, themselves first.
struct Candidates {
    int64_t M, K, n_neighbours, n_renewed;
    const float* rough;             // components, packed like the others
    const double* means;            // (M, D)
    const int64_t *order, *bounds;  // (N), (M + 1)
    const int32_t* neighbours;      // (M, n_neighbours)
    int64_t n_hops, step;
    int64_t fewer;                  // candidates whose log-likelihood is asked, or 0
    int32_t* candidates;            // (N, K)
    int32_t* renewed;               // (M, n_renewed): the neighbours from now on
};

// How unlikely a component can be, beside the leader of a sample, to count in full for
// how near the two are: as the binary logarithm of their ratio.
constexpr float FARTHEST = -40;

// Finds the best candidates of each sample among its old ones, the neighbours of its
// leader, a few of theirs, and what the other samples beside it have. Roughly, about the
// mean of the leader; but what is new takes the place of an old one only if it is better.
template <class T, class Kind>
class Search {
    using V = Vector<float>;
    using I = Integers<float>;
    using Rough = typename Kind::template Of<float>;
    static constexpr int L = LANES<float>;

  public:
    Search(const Candidates& given, const Operands<T>& of, const Kind& kind)
        : given(given),
          of(of),
          kind(kind),
          density{of.D},
          held(kind, of, given.K),
          shares(given.K),
          fresh(given.K),
          listed(given.M),
          place(given.M),
          ranks(given.M),
          seen(given.M, -1),
          visited(given.M),
          lanes(given.M),
          means(given.M * of.D),
          sums(given.M),
          x(of.D * GROUP),
          z(of.D * GROUP),
          best(given.K * GROUP),
          ids(given.K * GROUP) {}

    // All samples that a component leads. Returns the log-likelihood of fewer candidates.
    double lead(int64_t leader) {
        const int64_t first = given.bounds[leader], last = given.bounds[leader + 1];
        begin(leader);
        total = 0;
        log_likelihood = 0;
        for (int64_t start = first, count; start < last; start += count) {
            count = last - start;
            if (GROUP > 2 && count > 2 * L)
                count = tile<GROUP>(start, count);
            else if (count > L)
                count = tile<2>(start, count);
            else
                count = tile<1>(start, count);
        }
        renew(leader, first < last);
        return log_likelihood;
    }

  private:
    void begin(int64_t leader) {
        stamp = leader;
        listed_count = 0;
        centre = given.means + leader * of.D;
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
        const double* mean = given.means + j * of.D;
        for (int64_t a = 0; a < of.D; a++) means[slot * of.D + a] = mean[a] - centre[a];
    }

    // As many of `left` samples as go into COUNT vectors, from one in `order` on.
    template <int COUNT>
    int64_t tile(int64_t start, int64_t left) {
        constexpr int SIZE = COUNT * L;
        const int64_t n = std::min<int64_t>(left, SIZE);
        const int64_t* some = given.order + start;
        float* columns = reinterpret_cast<float*>(x + 0);
        for (int64_t i = 0; i < SIZE; i++) {
            const T* row = of.rows + some[std::min(i, n - 1)] * of.D;
            for (int64_t a = 0; a < of.D; a++) columns[a * SIZE + i] = row[a] - centre[a];
        }
        std::fill_n(best + 0, given.K * COUNT,
                    all<float>(-std::numeric_limits<float>::infinity()));
        std::fill_n(ids + 0, given.K * COUNT, I{} - 1);
        total += SIZE;
        for (int64_t slot = 0; slot < shared; slot++) evaluate<COUNT>(slot);
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < given.K; c++) {
                const int64_t j = given.candidates[some[i] * given.K + c];
                if (j < 0) continue;
                add(j);
                const int64_t slot = place[j];
                if (slot < shared || visited[slot] == start) continue;
                visited[slot] = start;
                evaluate<COUNT>(slot);
            }
        for (int64_t i = 0; i < n; i++) take<COUNT>(i, some[i]);
        return n;
    }

    template <int COUNT>
    void evaluate(int64_t slot) {
        const int64_t j = listed[slot];
        V found[COUNT];
        density.template operator()<COUNT>(given.rough + j * density.width(),
                                           means + slot * of.D, x,
                                           best + (given.K - 1) * COUNT, z, found);
        if (slot == 0) std::copy_n(found, COUNT, lead_levels);
        UNROLL for (int v = 0; v < COUNT; v++)
            sums[slot] += largest(found[v] - lead_levels[v], all<float>(FARTHEST));
        lanes[slot] += COUNT * L;
        UNROLL for (int v = 0; v < COUNT; v++) insert<COUNT>(v, found[v], j);
    }

    // Takes in a component where it is better than the last of the best.
    template <int COUNT>
    void insert(int v, V value, int64_t j) {
        const int64_t K = given.K;
        I better = value > best[(K - 1) * COUNT + v];
        if (!any<float>(better)) return;
        I id = I{} + static_cast<int32_t>(j);
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

    // Gives a sample, in a lane, the best of what was found and what it has: what both
    // have it keeps, and the others are compared.
    template <int COUNT>
    void take(int64_t lane, int64_t sample) {
        const int64_t K = given.K;
        const int32_t* found = reinterpret_cast<const int32_t*>(ids + 0) + lane;
        int32_t* own = given.candidates + sample * K;
        int64_t n_kept = 0, n_fresh = 0;
        for (int64_t c = 0; c < K; c++) {
            const int32_t j = found[c * COUNT * L];
            if (j < 0) continue;
            int32_t* at = std::find(own + n_kept, own + K, j);
            if (at == own + K)
                fresh[n_fresh++] = j;
            else
                std::swap(*at, own[n_kept++]);
        }
        if (n_fresh > 0) {
            held.begin(sample, K - n_kept);
            for (int64_t c = n_kept; c < K; c++) held.add(own[c]);
            for (int64_t c = 0; c < n_fresh; c++) held.add(fresh[c]);
            held.write(own + n_kept);
        }
        if (given.fewer == 0) return;
        held.begin(sample, K);
        for (int64_t c = 0; c < K; c++) held.add(own[c]);
        held.write(own);
        const double weight = of.weights ? of.weights[sample] : 1.0;
        if (weight != 0) log_likelihood += weight * held.share(given.fewer, shares);
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
        // The best ones first, by and large: of others little is computed then.
        std::fill_n(firsts, RANKS + 1, 0);
        for (int64_t slot = 1; slot < listed_count; slot++) {
            const float near = sum<float>(sums[slot]) / total;
            const float unseen = FARTHEST * (1 - float(lanes[slot]) / total);
            const float rank = (near + unseen) * (RANKS / FARTHEST) + RANKS_BEFORE;
            ranks[slot] = std::min(std::max(0.0f, rank), RANKS - 1.0f);
            firsts[ranks[slot] + 1]++;
        }
        for (int r = 0; r < RANKS; r++) firsts[r + 1] += firsts[r];
        for (int64_t slot = 1; slot < listed_count; slot++) {
            const int64_t at = firsts[ranks[slot]]++;
            if (at < others) out[1 + at] = listed[slot];
        }
    }

    const Candidates& given;
    const Operands<T>& of;
    const Kind& kind;
    const Rough density;
    Best<T, Kind> held;
    const Array<T> shares;
    const Array<int32_t> fresh;
    const double* centre = nullptr;
    int64_t stamp = -1, listed_count = 0, shared = 0, total = 0;
    double log_likelihood = 0;
    // Of components that are compared with the samples of a leader, by their places.
    const Array<int32_t> listed, place, ranks;
    std::vector<int64_t> seen;
    const Array<int64_t> visited, lanes;
    const Array<float> means;
    const Array<V> sums;
    const Array<V> x, z, best;
    const Array<I> ids;
    V lead_levels[GROUP];
    // Where those of each rank go.
    static constexpr int RANKS = 256, RANKS_BEFORE = 64;
    int64_t firsts[RANKS + 1];
};
