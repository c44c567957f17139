// The gateway's process.

import Options

StandardStreams.openClosed()
GatewayProgram.run()
