<?php
// Sends a notice to a room from a PHP backend, through any Redis client; here the extension phpredis.
//
//     apt-get install php-cli php-redis
//     REDIS_URL=redis://127.0.0.1:6379 php publish.php lobby "Hello from PHP"

declare(strict_types=1);

/** Publishes $data to $room; returns how many gateway nodes have a client there. */
function notify(Redis $client, string $room, mixed $data, string $type = 'notice'): int
{
    $flags = JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES;
    return (int) $client->publish("room:$room", json_encode(['type' => $type, 'data' => $data], $flags));
}

if ($argc !== 3) {
    fwrite(STDERR, "usage: php {$argv[0]} ROOM TEXT\n");
    exit(2);
}
$url = parse_url(getenv('REDIS_URL') ?: 'redis://127.0.0.1:6379');
$client = new Redis();
$client->connect($url['host'], $url['port'] ?? 6379, 5.0);
if (isset($url['pass'])) {
    $client->auth([rawurldecode($url['user'] ?? 'default'), rawurldecode($url['pass'])]);
}
$nodes = notify($client, $argv[1], ['text' => $argv[2]]);
echo "sent to $nodes node", $nodes === 1 ? '' : 's', "\n";
