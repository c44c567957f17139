// The gateway's process.

GatewayProgram.run()
