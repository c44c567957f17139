// features.h first: see CLibevent/shim.h.
#include <features.h>
#include <zlib.h>
