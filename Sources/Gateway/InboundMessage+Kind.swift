// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire

extension MCPWire.Method {
    var isTaskPoll: Bool { self == .tasksGet || self == .tasksResult }

    /// Counts against no limit.
    var isFree: Bool { self == .initialize || self == .ping || isTaskPoll }

    /// Is carried out by an owner, and counted where it is let in.
    var isCall: Bool {
        switch self {
        case .toolsCall, .promptsGet, .resourcesRead, .complete, .tasksGet, .tasksResult, .tasksUpdate, .tasksCancel:
            true
        default: false
        }
    }
}

extension InboundMessage {
    var wishes: Wishes {
        var wishes = Wishes()
        wishes.capabilities = capabilities
        guard stream != nil else {
            // A legacy client without streams can be asked nothing.
            if !revision.isModern { wishes.capabilities = [] }
            return wishes
        }
        wishes.logLevel = wantedLogLevel
        wishes.progress = progressToken != nil
        wishes.session = session?.key
        return wishes
    }
}
