// The floor: what fan-out costs when a server does nothing else. A C loop over epoll that subscribes room:* in Redis,
// builds each message's WebSocket frame once, and writes it to every socket of the room. No tokens, no heartbeats, no
// limits, no partial writes: what a socket does not take at once is an error, counted and dropped.
//
//   floor PORT REDIS_PORT send|coalesce|register
//
// send: one send() a message a client. coalesce: one send() a client for everything that came in a turn of the loop.
// register: as coalesce, but an upgrade is answered when Redis has answered a script with as many arguments as the
// gateway registers a connection with; the commands of a turn leave together.
// A client's room is the last segment of its path: GET /sub/<room>.
// Build: cc -O2 -o floor floor.c
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAXIMUM_DESCRIPTORS = 65536, ROOM_SLOTS = 1 << 16, NAME_BYTES = 64, BUFFER_BYTES = 4 << 20 };

struct room {
    char name[NAME_BYTES];
    int *members;
    int count, capacity;
    uint8_t *turn;  // the frames of this turn, end to end
    size_t turn_bytes, turn_capacity;
    int is_dirty;
};

static struct room *rooms[ROOM_SLOTS];
static struct room *dirty[ROOM_SLOTS];
static int dirty_count;
static struct { struct room *room; int index; } clients[MAXIMUM_DESCRIPTORS];
static int epoll, coalesces;
// Upgrades that wait for Redis, in the order of their commands, and the commands of this turn.
static struct { int descriptor; struct room *room; char accept[32]; } waiting[MAXIMUM_DESCRIPTORS];
static unsigned waiting_first, waiting_end;
static char commands[1 << 20];
static size_t command_bytes;
static int registry = -1;  // the connection for them; -1: no upgrade waits
static uint64_t failures;

static void fail(const char *what) { perror(what); exit(1); }

static struct room *find_room(const char *name, size_t length) {
    if (length >= NAME_BYTES) length = NAME_BYTES - 1;
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length; i++) hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    for (uint32_t slot = hash;; slot++) {
        struct room **entry = &rooms[slot % ROOM_SLOTS];
        if (*entry && strlen((*entry)->name) == length && !memcmp((*entry)->name, name, length)) return *entry;
        if (*entry) continue;
        *entry = calloc(1, sizeof **entry);
        memcpy((*entry)->name, name, length);
        return *entry;
    }
}

static void leave(int descriptor) {
    struct room *room = clients[descriptor].room;
    if (room) {
        int last = room->members[--room->count];
        room->members[clients[descriptor].index] = last;
        clients[last].index = clients[descriptor].index;
        clients[descriptor].room = NULL;
    }
    close(descriptor);
}

static void write_all(struct room *room, const uint8_t *bytes, size_t count) {
    for (int i = 0; i < room->count; i++)
        if (send(room->members[i], bytes, count, MSG_NOSIGNAL) != (ssize_t)count) failures++;
}

static void deliver(const char *name, size_t name_length, const uint8_t *payload, size_t length) {
    struct room *room = find_room(name, name_length);
    if (!room->count) return;
    if (room->turn_bytes + length + 10 > room->turn_capacity) {
        room->turn_capacity = (room->turn_bytes + length + 10) * 2;
        room->turn = realloc(room->turn, room->turn_capacity);
    }
    uint8_t *frame = room->turn + room->turn_bytes;
    size_t header = 2;
    frame[0] = 0x81;
    if (length < 126) {
        frame[1] = (uint8_t)length;
    } else if (length < 65536) {
        frame[1] = 126, frame[2] = (uint8_t)(length >> 8), frame[3] = (uint8_t)length, header = 4;
    } else {
        frame[1] = 127, header = 10;
        for (int i = 0; i < 8; i++) frame[2 + i] = (uint8_t)((uint64_t)length >> (56 - 8 * i));
    }
    memcpy(frame + header, payload, length);
    if (!coalesces) {
        write_all(room, frame, header + length);
        return;
    }
    room->turn_bytes += header + length;
    if (!room->is_dirty) room->is_dirty = 1, dirty[dirty_count++] = room;
}

static void flush_turn(void) {
    for (int i = 0; i < dirty_count; i++) {
        write_all(dirty[i], dirty[i]->turn, dirty[i]->turn_bytes);
        dirty[i]->turn_bytes = 0;
        dirty[i]->is_dirty = 0;
    }
    dirty_count = 0;
}

// SHA-1 of one block or two (FIPS 180-4): the handshake's 60 bytes need no more.
static void sha1(const char *text, size_t length, uint8_t digest[20]) {
    uint8_t block[128] = {0};
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    memcpy(block, text, length);
    block[length] = 0x80;
    block[126] = (uint8_t)(length * 8 >> 8), block[127] = (uint8_t)(length * 8);
    for (int part = 0; part < 2; part++) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 16; i++) w[i] = ntohl(((uint32_t *)(void *)(block + part * 64))[i]);
        for (int i = 16; i < 80; i++) {
            uint32_t x = w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16];
            w[i] = x << 1 | x >> 31;
        }
        for (int i = 0; i < 80; i++) {
            uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
            uint32_t k = i < 20 ? 0x5A827999 : i < 40 ? 0x6ED9EBA1 : i < 60 ? 0x8F1BBCDC : 0xCA62C1D6;
            uint32_t next = (a << 5 | a >> 27) + f + e + k + w[i];
            e = d, d = c, c = b << 30 | b >> 2, b = a, a = next;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++) digest[i] = (uint8_t)(h[i / 4] >> (24 - i % 4 * 8));
}

static void base64(const uint8_t *bytes, size_t count, char *text) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < count; i += 3) {
        uint32_t bits = (uint32_t)bytes[i] << 16 | (i + 1 < count ? bytes[i + 1] << 8 : 0)
            | (i + 2 < count ? bytes[i + 2] : 0);
        for (int j = 0; j < 4; j++) *text++ = i + (size_t)j > count ? '=' : alphabet[bits >> (18 - 6 * j) & 63];
    }
    *text = 0;
}

static void welcome(int descriptor, struct room *room, const char *accept) {
    char response[256];
    int length = snprintf(response, sizeof response,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
    if (send(descriptor, response, (size_t)length, MSG_NOSIGNAL) != length) failures++;
    if (room->count == room->capacity) {
        room->capacity = room->capacity ? room->capacity * 2 : 4;
        room->members = realloc(room->members, (size_t)room->capacity * sizeof *room->members);
    }
    clients[descriptor].room = room;
    clients[descriptor].index = room->count;
    room->members[room->count++] = descriptor;
}

static void send_registration(const char *room_name) {
    command_bytes += (size_t)snprintf(commands + command_bytes, sizeof commands - command_bytes,
        "*11\r\n$4\r\nEVAL\r\n$14\r\nreturn ARGV[3]\r\n$1\r\n1\r\n$31\r\nclient:%024u\r\n"
        "$8\r\nbench-01\r\n$9\r\n127.0.0.1\r\n$%zu\r\n%s\r\n$13\r\n1700000000000\r\n$19\r\n%019u\r\n"
        "$2\r\n90\r\n$5\r\nroom:\r\n", waiting_end, strlen(room_name), room_name, waiting_end);
    if (command_bytes >= sizeof commands) fail("too many registrations in a turn");
}

static void send_commands(void) {
    if (command_bytes && send(registry, commands, command_bytes, MSG_NOSIGNAL) != (ssize_t)command_bytes) fail("redis");
    command_bytes = 0;
}

// A reply is two lines. A client that has gone meanwhile is not expected.
static void read_registrations(void) {
    static char replies[65536];
    static unsigned lines;
    ssize_t count = recv(registry, replies, sizeof replies, 0);
    if (count <= 0) fail("redis");
    for (ssize_t i = 0; i < count; i++) {
        if (replies[i] != '\n' || ++lines % 2) continue;
        unsigned next = waiting_first++ % MAXIMUM_DESCRIPTORS;
        welcome(waiting[next].descriptor, waiting[next].room, waiting[next].accept);
    }
}

static void shake_hands(int descriptor, char *request) {
    char *path_end = strstr(request, " HTTP/"), *key = strcasestr(request, "sec-websocket-key: ");
    if (!path_end || !key || strlen(key) < 43) {
        leave(descriptor);
        return;
    }
    *path_end = 0;
    char *name = strrchr(request, '/'), joined[64], accept[32];
    uint8_t digest[21] = {0};
    memcpy(joined, key + 19, 24);
    memcpy(joined + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    sha1(joined, 60, digest);
    base64(digest, 20, accept);
    struct room *room = find_room(name + 1, strlen(name + 1));
    if (registry < 0) {
        welcome(descriptor, room, accept);
        return;
    }
    unsigned next = waiting_end % MAXIMUM_DESCRIPTORS;
    waiting[next].descriptor = descriptor, waiting[next].room = room;
    memcpy(waiting[next].accept, accept, sizeof accept);
    send_registration(room->name);
    waiting_end++;
}

static uint8_t redis_buffer[BUFFER_BYTES];
static size_t redis_bytes;

// One RESP bulk string at *offset; NULL when it is not complete.
static uint8_t *bulk(size_t *offset, size_t *length) {
    uint8_t *end = memchr(redis_buffer + *offset, '\n', redis_bytes - *offset);
    if (!end) return NULL;
    *length = strtoul((char *)redis_buffer + *offset + 1, NULL, 10);
    size_t start = (size_t)(end + 1 - redis_buffer);
    if (start + *length + 2 > redis_bytes) return NULL;
    *offset = start + *length + 2;
    return redis_buffer + start;
}

static void read_redis(int descriptor) {
    ssize_t count = recv(descriptor, redis_buffer + redis_bytes, BUFFER_BYTES - redis_bytes - 1, 0);
    if (count <= 0) fail("redis");
    redis_bytes += (size_t)count;
    redis_buffer[redis_bytes] = 0;
    size_t used = 0;
    for (;;) {
        size_t offset = used, lengths[4];
        uint8_t *parts[4] = {0}, *end = memchr(redis_buffer + used, '\n', redis_bytes - used);
        if (!end) break;
        offset = (size_t)(end + 1 - redis_buffer);
        if (redis_buffer[used + 1] == '3') {  // *3: the reply to PSUBSCRIBE, whose last element is an integer
            if (!bulk(&offset, lengths) || !bulk(&offset, lengths)) break;
            end = memchr(redis_buffer + offset, '\n', redis_bytes - offset);
            if (!end) break;
            used = (size_t)(end + 1 - redis_buffer);
            continue;
        }
        int i = 0;
        while (i < 4 && (parts[i] = bulk(&offset, &lengths[i]))) i++;
        if (i < 4) break;
        used = offset;
        deliver((char *)parts[2] + 5, lengths[2] - 5, parts[3], lengths[3]);
    }
    memmove(redis_buffer, redis_buffer + used, redis_bytes - used);
    redis_bytes -= used;
}

static int loopback_socket(int port, struct sockaddr_in *address) {
    int descriptor = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (descriptor < 0) fail("socket");
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return descriptor;
}

static void watch(int descriptor) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) < 0) fail("epoll_ctl");
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: floor PORT REDIS_PORT send|coalesce|register\n");
        return 2;
    }
    coalesces = strcmp(arguments[3], "send") != 0;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    struct sockaddr_in address;
    epoll = epoll_create1(0);
    int redis = loopback_socket(atoi(arguments[2]), &address);
    if (connect(redis, (struct sockaddr *)&address, sizeof address) < 0) fail("connect to redis");
    if (send(redis, "PSUBSCRIBE room:*\r\n", 19, 0) != 19) fail("redis");
    if (!strcmp(arguments[3], "register")) {
        registry = loopback_socket(atoi(arguments[2]), &address);
        if (connect(registry, (struct sockaddr *)&address, sizeof address) < 0) fail("connect to redis");
    }
    int listener = loopback_socket(atoi(arguments[1]), &address);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) fail("listen");
    watch(redis);
    if (registry >= 0) watch(registry);
    watch(listener);
    static struct epoll_event events[1024];
    static char request[65536];
    for (;;) {
        int ready = epoll_wait(epoll, events, 1024, -1);
        for (int i = 0; i < ready; i++) {
            int descriptor = events[i].data.fd;
            if (descriptor == redis) {
                read_redis(redis);
            } else if (descriptor == registry) {
                read_registrations();
            } else if (descriptor == listener) {
                int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (client < 0 || client >= MAXIMUM_DESCRIPTORS) continue;
                watch(client);
            } else {
                ssize_t bytes = recv(descriptor, request, sizeof request - 1, 0);
                if (bytes <= 0) {
                    if (bytes == 0 || errno != EAGAIN) leave(descriptor);
                } else if (!clients[descriptor].room) {
                    request[bytes] = 0;
                    shake_hands(descriptor, request);
                } else if ((request[0] & 0x0F) == 8) {
                    leave(descriptor);  // the peer's Close frame
                }
            }
        }
        flush_turn();
        send_commands();
    }
}
