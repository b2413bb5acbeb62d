// Huge pages, so that random reads in large tables miss the TLB less often.
//
// All of it is advice that may be ignored, and none of it changes a byte or the pages of a file.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace sklearn_static {

#ifdef __linux__
inline void advise_huge_pages(const void* memory, size_t size, int advice) {
    constexpr uintptr_t kHugePage = 2 << 20;
    const uintptr_t address = reinterpret_cast<uintptr_t>(memory);
    const uintptr_t start = (address + kHugePage - 1) / kHugePage * kHugePage;
    const uintptr_t stop = (address + size) / kHugePage * kHugePage;
    if (start < stop) madvise(reinterpret_cast<void*>(start), stop - start, advice);
}
#endif

// Has the system merge pages in the background, for the vectors: those of an unpickled table of
// Gemma's 268 MB took 82 ns per token after loading, 60 after two minutes. Pages of a mapped file are
// read as huge pages where the file system can: 81 and 71 ns. Neither `collapse_pages` pays for them
// (0.6 s and the pages twice, which the tokens of 100 million characters would pay back), nor
// MADV_WILLNEED.
inline void ask_for_huge_pages(const void* memory, size_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    advise_huge_pages(memory, size, MADV_HUGEPAGE);
#else
    (void)memory, (void)size;
#endif
}

// Has pages merged now, for the tables that every piece of a text is looked up in: it takes about
// 2 ms per MB, and tokenization of English is 5 to 15 % faster. Not for a mapped file, which other
// processes share.
inline void collapse_pages(const void* memory, size_t size) {
#ifdef __linux__
    constexpr int kCollapse = 25;  // MADV_COLLAPSE, of Linux 6.1 or later
    advise_huge_pages(memory, size, kCollapse);
#else
    (void)memory, (void)size;
#endif
}

}  // namespace sklearn_static
