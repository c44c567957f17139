// io_uring(7) as the kernel's headers have it, and what Swift cannot see: its system calls are variadic or have no
// wrapper in the C library, and a request's fields are anonymous unions.
#include <features.h>

#include <linux/io_uring.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline int io_uring_setup(unsigned entries, struct io_uring_params *parameters) {
    return (int)syscall(__NR_io_uring_setup, entries, parameters);
}

static inline int io_uring_enter(int ring, unsigned submitted) {
    return (int)syscall(__NR_io_uring_enter, ring, submitted, 0, 0, NULL, 0);
}

// send(2) of all of the bytes: done when io_uring_enter returns, as MSG_DONTWAIT keeps the kernel from waiting. A
// completion comes only if it was not done whole, which MSG_WAITALL makes a failure.
static inline void io_uring_prepare_send(
    struct io_uring_sqe *request, int socket, const void *bytes, size_t count, unsigned long long tag
) {
    memset(request, 0, sizeof *request);
    request->opcode = IORING_OP_SEND;
    request->flags = IOSQE_CQE_SKIP_SUCCESS;
    request->fd = socket;
    request->addr = (unsigned long long)(size_t)bytes;
    request->len = (unsigned)count;
    request->msg_flags = MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL;
    request->user_data = tag;
}

// The heads and tails that the kernel shares.
static inline unsigned io_uring_load(const unsigned *index) { return __atomic_load_n(index, __ATOMIC_ACQUIRE); }
static inline void io_uring_store(unsigned *index, unsigned value) {
    __atomic_store_n(index, value, __ATOMIC_RELEASE);
}
