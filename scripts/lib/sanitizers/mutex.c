// Tells the thread sanitizer what Swift's Mutex does when two threads want it at once. That part of it is in
// libswiftSynchronization, which is not instrumented: unseen, a lock that was waited for orders nothing, and what it
// guards looks like a race. Programs of `scripts/test --sanitize thread` are linked with this and with --wrap for each
// of the three functions. Any thread.
#include <stdbool.h>
#include <stdint.h>

// The sanitizer's: what comes before a release of an address comes before what follows its acquisition.
void __tsan_acquire(void *address);
void __tsan_release(void *address);

// Methods of Synchronization._MutexHandle: Swift passes self in a register of its own. The names behind __wrap_ and
// __real_ are those that the linker knows, mangled.
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"
#define METHOD __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *self

METHOD void real_lock(uint32_t thread, SELF) __asm__("__real_" LOCK);
METHOD bool real_try_lock(SELF) __asm__("__real_" TRY_LOCK);
METHOD void real_unlock(SELF) __asm__("__real_" UNLOCK);
METHOD void wrap_lock(uint32_t thread, SELF) __asm__("__wrap_" LOCK);
METHOD bool wrap_try_lock(SELF) __asm__("__wrap_" TRY_LOCK);
METHOD void wrap_unlock(SELF) __asm__("__wrap_" UNLOCK);

METHOD void wrap_lock(uint32_t thread, SELF) {
    real_lock(thread, self);
    __tsan_acquire(self);
}

METHOD bool wrap_try_lock(SELF) {
    bool locked = real_try_lock(self);
    if (locked) __tsan_acquire(self);
    return locked;
}

METHOD void wrap_unlock(SELF) {
    __tsan_release(self);
    real_unlock(self);
}
