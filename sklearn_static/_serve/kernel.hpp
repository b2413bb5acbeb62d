// Sums rows of a table for one instruction set. Included once for each, inside a namespace that
// defines `Lanes`, `store`, `load` for float32, float16 (uint16_t) and int8, all of which return
// float32, and `kBlocksAtOnce`, the number of Lanes that are summed in registers: at most half of
// the registers, a multiple of eight columns.
//
// No include guard. Rows are added in their order, whatever the width, and operations are not
// fused, so that the result has the same bits on every processor.

inline double square(float value) { return static_cast<double>(value) * value; }

// Adds the squares of values to eight sums on every processor, that of value i to the sum i % 8.
// The last n_values % 8 values are left out.
inline void add_squares(const float* values, size_t n_values, double* sums) {
    double parts[8];  // a copy, which stays in registers
    std::memcpy(parts, sums, sizeof(parts));
    for (size_t j = 0; j + 8 <= n_values; j += 8)
        for (size_t k = 0; k < 8; ++k) parts[k] += square(values[j + k]);
    std::memcpy(sums, parts, sizeof(parts));
}

// Adds a group to `out` in columns of whole blocks, starting at `column`; returns the next column.
// The squares of the sums are added to `squares` unless it is null.
template <size_t kBlocks, class Table>
inline size_t sum_blocks(const Table& table, const Group& group, size_t column, float* out,
                         double* squares) {
    constexpr size_t kWidth = sizeof(Lanes) / sizeof(float), kColumns = kBlocks * kWidth;
    for (; column + kColumns <= table.n_columns; column += kColumns) {
        // Each Lanes is loaded and stored by itself: copied as one array, they would not be kept in
        // registers, and the copy's narrow stores would stall the wide loads.
        Lanes sums[kBlocks];
        for (size_t k = 0; k < kBlocks; ++k)
            sums[k] = group.is_first ? Lanes{} : load(out + column + k * kWidth);
        for (size_t i = 0; i < group.n_rows; ++i) {
            // The same columns of a later row, possibly of the next document: prefetching whole rows
            // before each group would exceed the number of cache misses that a core can have open.
            const auto* ahead = table.row(group.rows[i + kRowsFetched]) + column;
            for (size_t j = 0; j < kColumns; j += 64 / sizeof(*ahead))
                SKLEARN_STATIC_PREFETCH(ahead + j);
            const auto* values = table.row(group.rows[i]) + column;
            const float scale = table.scale(group.rows[i]);
            for (size_t k = 0; k < kBlocks; ++k) {
                const Lanes value = load(values + k * kWidth);
                sums[k] += Table::kIsScaled ? value * scale : value;
            }
        }
        for (size_t k = 0; k < kBlocks; ++k) store(out + column + k * kWidth, sums[k]);
        // Here, the sums of the next columns hide the latency of these additions.
        if (squares != nullptr) add_squares(out + column, kColumns, squares);
    }
    return column;
}

template <class Table>
inline void pool(const Table& table, const Selection& selection, bool unit_length, float* out) {
    const int32_t* rows = selection.rows.get();
    const size_t n_columns = table.n_columns;
    size_t start = 0;
    for (size_t document = 0; document < selection.stops.size(); ++document) {
        const size_t end = selection.stops[document];
        double squares[8] = {0};
        size_t n_squared = 0;  // columns
        Group group = {nullptr, 0, true};
        do {
            group.rows = rows + start;
            group.n_rows = std::min(end - start, kRowsAtOnce);
            start += group.n_rows;
            const bool is_last = start == end;
            size_t column = sum_blocks<kBlocksAtOnce>(table, group, 0, out,
                                                      is_last && unit_length ? squares : nullptr);
            n_squared = column;
            column = sum_blocks<4>(table, group, column, out, nullptr);
            column = sum_blocks<1>(table, group, column, out, nullptr);
            for (; column < n_columns; ++column) {
                float sum = group.is_first ? 0 : out[column];
                for (size_t i = 0; i < group.n_rows; ++i) {
                    const float value = to_float(table.row(group.rows[i])[column]);
                    sum += table.kIsScaled ? value * table.scale(group.rows[i]) : value;
                }
                out[column] = sum;
            }
            group.is_first = false;
        } while (start < end);
        double divisor = static_cast<double>(selection.n_known_tokens[document]);
        if (unit_length) {
            add_squares(out + n_squared, n_columns - n_squared, squares);
            for (size_t j = n_columns - n_columns % 8; j < n_columns; ++j)
                squares[0] += square(out[j]);
            divisor = 0;
            for (size_t k = 0; k < 8; ++k) divisor += squares[k];
            divisor = std::sqrt(divisor);
        }
        if (0 < divisor && divisor < kLeastDivisor) {
            for (size_t j = 0; j < n_columns; ++j) out[j] = static_cast<float>(out[j] / divisor);
        } else {  // much faster than dividing each value
            const float factor = divisor > 0 ? static_cast<float>(1 / divisor) : 1;
            for (size_t j = 0; j < n_columns; ++j) out[j] *= factor;
        }
        out += n_columns;
    }
}
