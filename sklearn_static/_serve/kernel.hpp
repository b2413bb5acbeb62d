// Sums rows of a table for one instruction set. Included once for each, inside a namespace that
// defines `Lanes` and `load` for float32, float16 (uint16_t) and int8, all of which return float32.
//
// No include guard. Rows are added in their order, whatever the width, and operations are not
// fused, so that the result has the same bits on every processor.

// Adds rows to `out` in columns of whole lanes, starting at `column`; returns the next column.
template <size_t kBlocks, class Table>
inline size_t sum_blocks(const Table& table, const int32_t* rows, size_t n_rows, size_t column,
                         float* out) {
    constexpr size_t kWidth = sizeof(Lanes) / sizeof(float);
    for (; column + kBlocks * kWidth <= table.n_columns; column += kBlocks * kWidth) {
        Lanes sums[kBlocks];
        std::memcpy(sums, out + column, sizeof(sums));
        for (size_t i = 0; i < n_rows; ++i) {
            const auto* values = table.row(rows[i]) + column;
            const float scale = table.scale(rows[i]);
            for (size_t k = 0; k < kBlocks; ++k) {
                const Lanes value = load(values + k * kWidth);
                sums[k] += Table::kIsScaled ? value * scale : value;
            }
        }
        std::memcpy(out + column, sums, sizeof(sums));
    }
    return column;
}

// The square root of the sum of squares, summed in eight parts on every processor.
inline double length_of(const float* values, size_t n_values) {
    double parts[8] = {0};
    size_t j = 0;
    for (; j + 8 <= n_values; j += 8)
        for (size_t k = 0; k < 8; ++k)
            parts[k] += static_cast<double>(values[j + k]) * static_cast<double>(values[j + k]);
    for (; j < n_values; ++j) parts[0] += static_cast<double>(values[j]) * values[j];
    double sum = 0;
    for (double part : parts) sum += part;
    return std::sqrt(sum);
}

template <class Table>
inline void pool(const Table& table, const Selection& selection, bool unit_length, float* out) {
    const int32_t* rows = selection.rows.data();
    const size_t n_rows = selection.rows.size(), n_columns = table.n_columns;
    size_t start = 0, n_fetched = 0;
    for (size_t document = 0; document < selection.stops.size(); ++document) {
        std::memset(out, 0, n_columns * sizeof(float));
        // Few enough rows at a time to stay in the L1 cache for the next columns.
        for (size_t stop; start < selection.stops[document]; start = stop) {
            stop = std::min(selection.stops[document], start + kRowsAtOnce);
            for (; n_fetched < std::min(n_rows, stop + kRowsFetched); ++n_fetched) {
                const char* row = reinterpret_cast<const char*>(table.row(rows[n_fetched]));
                for (size_t byte = 0; byte < n_columns * sizeof(*table.values); byte += 64)
                    SKLEARN_STATIC_PREFETCH(row + byte);
            }
            size_t column = sum_blocks<4>(table, rows + start, stop - start, 0, out);
            column = sum_blocks<1>(table, rows + start, stop - start, column, out);
            for (; column < n_columns; ++column) {
                for (size_t i = start; i < stop; ++i) {
                    const float value = to_float(table.row(rows[i])[column]);
                    out[column] += table.kIsScaled ? value * table.scale(rows[i]) : value;
                }
            }
        }
        const double divisor =
            unit_length ? length_of(out, n_columns) : selection.n_known_tokens[document];
        // Much faster than dividing each value.
        const float factor = divisor > 0 ? static_cast<float>(1 / divisor) : 1;
        for (size_t j = 0; j < n_columns; ++j) out[j] *= factor;
        out += n_columns;
    }
}
