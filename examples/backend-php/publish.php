<?php
// Sends a notice to a room from a PHP backend, through any Redis client; here the extension phpredis.
//
//     apt-get install php-cli php-redis
//     REDIS_URL=redis://127.0.0.1:6379 php publish.php lobby "Hello from PHP"
//     REDIS_URL=redis://127.0.0.1:6379 php publish.php lobby "Order 4711 is paid" order-4711
//
// With a key as the third argument the notice is durable: the room's history keeps it, and however often this is called
// with the key, it is published once. The function in Redis that does this is loaded by the nodes, or with
// `publisher library | redis-cli -x FUNCTION LOAD REPLACE`.

declare(strict_types=1);

/** Publishes $data to $room; returns how many gateway nodes have a client there. */
function notify(Redis $client, string $room, mixed $data, string $type = 'notice'): int
{
    $flags = JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES;
    return (int) $client->publish("room:$room", json_encode(['type' => $type, 'data' => $data], $flags));
}

/**
 * Publishes $data to $room once for $key, and keeps it. Returns the notice's id, and how many nodes received it: null if
 * the key was known, and nothing was published now.
 *
 * A RedisException leaves open whether the notice is out: connect and call again with the same $key, within five minutes.
 */
function notifyDurably(
    Redis $client, string $room, mixed $data, string $key, string $type = 'notice', int $limit = 1000, int $ageMs = 3600000
): array {
    $flags = JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES;
    $notice = json_encode(['type' => $type, 'data' => $data], $flags);
    $keys = ["room:$room", "once:{room:$room}:$key"];
    $answer = $client->rawCommand('FCALL', 'roomcast_publish', 2, ...$keys, ...[$notice, $limit, $ageMs]);
    if (!is_array($answer)) {
        throw new RuntimeException('Redis refused it: ' . $client->getLastError());
    }
    [$id, $nodes] = $answer;
    return [$id, $nodes < 0 ? null : $nodes];
}

if ($argc !== 3 && $argc !== 4) {
    fwrite(STDERR, "usage: php {$argv[0]} ROOM TEXT [KEY]\n");
    exit(2);
}
$url = parse_url(getenv('REDIS_URL') ?: 'redis://127.0.0.1:6379');
$client = new Redis();
$client->connect($url['host'], $url['port'] ?? 6379, 5.0);
if (isset($url['pass'])) {
    $client->auth([rawurldecode($url['user'] ?? 'default'), rawurldecode($url['pass'])]);
}
if ($argc === 3) {
    $nodes = notify($client, $argv[1], ['text' => $argv[2]]);
    echo "sent to $nodes node", $nodes === 1 ? '' : 's', "\n";
} else {
    [$id, $nodes] = notifyDurably($client, $argv[1], ['text' => $argv[2]], $argv[3]);
    echo "$id: ", $nodes === null ? 'already published' : "$nodes node" . ($nodes === 1 ? '' : 's'), "\n";
}
