package struct RedisURL: Sendable { package var address: RedisAddress; package var user: String?; package var password: String?; package var database: Int }
