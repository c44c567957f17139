// Stands before the C library's allocator in the test program: what a program defines comes before what its libraries
// bring, for these libraries as well (glibc manual, "Replacing malloc").
#include "AllocationCounter.h"

#include <malloc.h>
#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif

static __thread uint64_t count;

uint64_t allocation_count(void) { return count; }

size_t allocated_bytes(void) { return mallinfo2().uordblks; }

size_t allocation_size(void *memory) { return malloc_usable_size(memory); }

#ifdef IS_SANITIZED
bool allocations_are_counted(void) { return false; }
#else
bool allocations_are_counted(void) { return true; }

// The C library's own names for what it does itself.
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

void *malloc(size_t size) {
    count += 1;
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count += 1;
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
    count += 1;
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    count += 1;
    return __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size) {
    count += 1;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
    count += 1;
    *result = __libc_memalign(alignment, size);
    return *result ? 0 : 12;
}

void free(void *memory) { __libc_free(memory); }
#endif
