// Reductions that leave out pairs of no consequence: samples that lie near each other
// have few components that matter, if these are narrow.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "mixture.h"
#include "reductions.h"

// Some components of a mixture, whose sums are those of all.
template <class T>
class Selected final : public Mixture<T> {
  public:
    using Mixture<T>::M;

    Selected(const Mixture<T>& all, const std::vector<int64_t>& chosen)
        : Mixture<T>(chosen.size(), all.D),
          of_all(all),
          structure(all.separate()->structure),
          chosen(chosen),
          packed(M * structure.width()),
          sums(M * structure.sums_size()) {
        for (int64_t k = 0; k < M; k++)
            std::copy_n(all.separate()->component(chosen[k]), structure.width(),
                        packed + k * structure.width());
    }

    int64_t first_nan() const override { return M; }
    int64_t sums_size() const override { return of_all.sums_size(); }
    bool keeps_squares() const override { return structure.keeps_squares(); }

    int64_t at_a_time() const override { return SOME_COMPONENTS; }
    double cut() const override { return negligible(of_all.M); }

    void log_densities(Part part, const Tile<T>& tile, Vector<T>* out) const override {
        structure.log_densities(packed + part.first * structure.width(), part.count,
                                tile.from(part.first), out);
    }

    void add_moments(Part part, const Tile<T>& tile, Vector<T>* unscaled,
                     const Vector<T>* scale, double* out) const override {
        const int64_t size = structure.sums_size();
        std::fill_n(sums + 0, part.count * size, 0.0);
        structure.add_moments(packed + part.first * structure.width(), part.count,
                              tile.from(part.first), unscaled, scale, sums);
        for (int64_t k = 0; k < part.count; k++)
            for (int64_t s = 0; s < size; s++)
                out[chosen[part.first + k] * size + s] += sums[k * size + s];
    }

    void settle(double*) const override {}  // which is done to the sums of all
    int64_t second_size() const override { return 0; }  // and so is this
    void write(const double*, const WrittenMoments&) const override {}

  private:
    const Mixture<T>& of_all;
    const Structure<T>& structure;
    const std::vector<int64_t>& chosen;
    const Array<T> packed;
    const Array<double> sums;
};

// A tree over samples, which are in an order that keeps together what is near.
template <class T>
class Tree {
  public:
    static constexpr int64_t LEAF = 128;

    Tree(const Samples<T>& samples, const Mixture<T>& mixture)
        : samples(samples),
          mixture(mixture),
          D(mixture.D),
          n_leaves((samples.count + LEAF - 1) / LEAF),
          cut(negligible(mixture.M)),
          boxes(2 * D * n_leaves),
          middle(D),
          half(D),
          upper(mixture.M) {
        for (int64_t leaf = 0; leaf < n_leaves; leaf++) enclose(leaf);
    }

    // Returns the share of pairs that is left, by a few leaves.
    double share() {
        const std::vector<int64_t> all = components();
        const int64_t n = std::min<int64_t>(n_leaves, SOME);
        int64_t left = 0;
        for (int64_t first = 0; first < n; first += BOXES) {
            std::vector<Leaves> parts;
            for (int64_t k = first; k < std::min<int64_t>(n, first + BOXES); k++) {
                const int64_t leaf = (2 * k + 1) * n_leaves / (2 * n);
                parts.push_back({leaf, leaf + 1});
            }
            for (const auto& kept : select(parts, all)) left += kept.size();
        }
        return n ? double(left) / (n * mixture.M) : 1;
    }

    // Calls a function with samples from one to another, of all leaves in which a
    // log-density can come up to the leaf's floor: (n_leaves), to base 2.
    template <class Function>
    void visit_above(const double* floors, Function function) {
        int64_t begin = 0, end = 0;  // of leaves that follow each other
        for (int64_t first = 0; first < n_leaves; first += BOXES) {
            const int64_t count = std::min<int64_t>(BOXES, n_leaves - first);
            const OfBoxes most = bounds(first, count);
            for (int64_t leaf = first; leaf < first + count; leaf++) {
                if (most[leaf - first] < floors[leaf]) continue;
                if (leaf > end) {
                    if (end > begin) function(begin * LEAF, end * LEAF);
                    begin = leaf;
                }
                end = leaf + 1;
            }
        }
        if (end > begin) function(begin * LEAF, std::min(end * LEAF, samples.count));
    }

    int64_t count() const { return n_leaves; }

    // Calls a function with the first sample of each leaf, and the components that have
    // a share of any in it.
    template <class Function>
    void visit(Function function) {
        if (n_leaves) visit({0, n_leaves}, components(), function);
    }

  private:
    static constexpr int64_t SOME = 8;

    // Leaves from one to another.
    struct Leaves {
        int64_t begin, end;
    };

    std::vector<int64_t> components() const {
        std::vector<int64_t> all(mixture.M);
        std::iota(all.begin(), all.end(), int64_t(0));
        return all;
    }

    template <class Function>
    void visit(Leaves leaves, const std::vector<int64_t>& candidates,
               Function function) {
        std::vector<Leaves> parts{leaves};
        while (parts.size() < BOXES && parts.size() < size_t(leaves.end - leaves.begin))
            parts = halved(parts);
        const auto kept = select(parts, candidates);
        for (size_t k = 0; k < parts.size(); k++)
            if (parts[k].end - parts[k].begin == 1)
                function(parts[k].begin * LEAF, kept[k]);
            else
                visit(parts[k], kept[k], function);
    }

    static std::vector<Leaves> halved(const std::vector<Leaves>& parts) {
        std::vector<Leaves> found;
        for (const auto [begin, end] : parts) {
            const int64_t half_way = begin + (end - begin) / 2;
            if (half_way > begin) found.push_back({begin, half_way});
            found.push_back({half_way, end});
        }
        return found;
    }

    // Returns what the log-density is at most in each of some leaves, BOXES of them.
    OfBoxes bounds(int64_t first, int64_t count) {
        for (int k = 0; k < BOXES; k++)
            join({first + k % count, first + k % count + 1}, k);
        const SeparateComponents<T>& components = *mixture.separate();
        OfBoxes most = all<double>(-std::numeric_limits<double>::infinity());
        for (int64_t j = 0; j < mixture.M; j++)
            most = largest(most, components.structure
                                     .ranges(components.component(j), {middle, half})
                                     .most);
        return most + std::log2(double(mixture.M)) + rounding_of(most);
    }

    // Log-densities are rounded, too.
    static OfBoxes rounding_of(OfBoxes log_densities) {
        const double inexact = 64 * std::numeric_limits<T>::epsilon();
        return inexact * largest(log_densities, -log_densities);
    }

    // Returns for each part, of BOXES at most, the candidates that can come within `cut`
    // of the largest log-density.
    std::vector<std::vector<int64_t>> select(const std::vector<Leaves>& parts,
                                             const std::vector<int64_t>& candidates) {
        for (int k = 0; k < BOXES; k++) join(parts[k % parts.size()], k);
        const SeparateComponents<T>& components = *mixture.separate();
        OfBoxes best = all<double>(-std::numeric_limits<double>::infinity());
        for (size_t c = 0; c < candidates.size(); c++) {
            const T* component = components.component(candidates[c]);
            const Ranges found = components.structure.ranges(component, {middle, half});
            upper[c] = found.most;
            best = largest(found.least, best);
        }
        const OfBoxes least = best - cut - rounding_of(best);
        std::vector<std::vector<int64_t>> kept(parts.size());
        for (size_t k = 0; k < parts.size(); k++) {
            kept[k].resize(candidates.size());
            size_t count = 0;
            for (size_t c = 0; c < candidates.size(); c++) {
                kept[k][count] = candidates[c];
                count += !(upper[c][k] < least[k]);  // as NaN is not
            }
            kept[k].resize(count);
        }
        return kept;
    }

    // Finds the box of a leaf: the least coordinates, (D), and the largest.
    void enclose(int64_t leaf) {
        double *low = boxes + 2 * D * leaf, *high = low + D;
        std::fill_n(low, D, std::numeric_limits<double>::infinity());
        std::fill_n(high, D, -std::numeric_limits<double>::infinity());
        const int64_t begin = leaf * LEAF, end = std::min(samples.count, begin + LEAF);
        const auto extend = [&](int64_t a, double least, double most) {
            low[a] = std::min(low[a], least);
            high[a] = std::max(high[a], most);
        };
        // As many samples as a vector has numbers are D vectors, of which each place
        // means the same feature every time.
        const int64_t whole = (end - begin) / LANES<T>;
        for (int64_t v = 0; v < D && whole; v++) {
            const T* at = samples.points + begin * D + v * LANES<T>;
            Vector<T> least = all<T>(std::numeric_limits<T>::infinity()), most = -least;
            for (int64_t i = 0; i < whole; i++) {
                Vector<T> x;
                std::memcpy(&x, at + i * D * LANES<T>, sizeof(x));
                least = x < least ? x : least;
                most = x > most ? x : most;
            }
            for (int l = 0; l < LANES<T>; l++)
                extend((v * LANES<T> + l) % D, least[l], most[l]);
        }
        for (int64_t i = begin + whole * LANES<T>; i < end; i++)
            for (int64_t a = 0; a < D; a++) {
                const double x = samples.points[i * D + a];
                extend(a, x, x);
            }
    }

    // Finds the box around those of some leaves, in the frame.
    void join(Leaves leaves, int at) {
        for (int64_t a = 0; a < D; a++) {
            const double* box = boxes + 2 * D * leaves.begin + a;
            double low = box[0], high = box[D];
            for (int64_t leaf = leaves.begin + 1; leaf < leaves.end; leaf++) {
                low = std::min(low, boxes[2 * D * leaf + a]);
                high = std::max(high, boxes[2 * D * leaf + D + a]);
            }
            low = (low - samples.centre[a]) / samples.scale;
            high = (high - samples.centre[a]) / samples.scale;
            middle[a][at] = 0.5 * (low + high);
            const double inexact = 4 * std::numeric_limits<T>::epsilon();
            half[a][at] = 0.5 * (high - low) +
                          inexact * std::max(std::fabs(low), std::fabs(high));
        }
    }

    const Samples<T> samples;
    const Mixture<T>& mixture;
    const int64_t D, n_leaves;
    const double cut;
    const Array<double> boxes;
    const Array<OfBoxes> middle, half, upper;
};

template <class Reduction>
struct Pruned : Reduction {
    static constexpr bool pruned = true;
};

// Where results are one for each sample, those from a sample on; else all.
template <class Reduction, class Result>
Result* from_sample(Result* out, int64_t start) {
    return Reduction::for_moments ? out : out + start;
}

// If more pairs are left, bounds cost more than they save.
constexpr double MOST_LEFT = 0.6;

// As `reduce`, but for what is smaller than the rounding of the largest: by 36 nats, and
// log M.
template <class Reduction, class T, class Result>
void reduce_pruned(const Samples<T>& samples, const Mixture<T>& mixture, int64_t fit,
                   int64_t size, Result* out) {
    if (!mixture.separate() || mixture.first_nan() < mixture.M)
        return reduce<Reduction>(samples, mixture, fit, size, out);
    Tree<T> tree(samples, mixture);
    if (tree.share() > MOST_LEFT)
        return reduce<Reduction>(samples, mixture, fit, size, out);
    tree.visit([&](int64_t start, const auto& chosen) {
        const int64_t end = std::min(start + Tree<T>::LEAF, samples.count);
        const Samples<T> some = samples.between(start, end, mixture.D);
        const Selected<T> selected(mixture, chosen);
        Tiles<T> tiles(some, selected, fit, Reduction::for_moments);
        while (tiles.next())
            Reduction::add(tiles, selected, from_sample<Reduction>(out, start));
    });
}
