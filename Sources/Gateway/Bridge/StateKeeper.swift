// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore
internal import Sealing

/// Seals what a client of the stateless era carries from one round of a call to the next (`requestState`), and task
/// handles. What comes back is believed only when it was sealed here, for this caller and this very call, not too long
/// ago.
struct StateKeeper: Sendable {
    enum Content: Sendable, Equatable {
        /// The owner's own state as a JSON string with quotes, or none: it carries everything itself.
        case upstream([UInt8]?)
        /// The call waits here. `round` counts how often it has asked.
        case parked(ParkedCalls.Ticket, round: UInt32)

        fileprivate var bytes: [UInt8] {
            switch self {
            case .upstream(nil): [1]
            case .upstream(let state?): [2] + state
            case .parked(let ticket, let round):
                [3] + (0..<4).map { UInt8(truncatingIfNeeded: round >> UInt32(8 * (3 - $0))) } + ticket.bytes
            }
        }

        fileprivate init?(_ bytes: ArraySlice<UInt8>) {
            let rest = bytes.dropFirst()
            switch bytes.first {
            case 1: self = .upstream(nil)
            case 2: self = .upstream(Array(rest))
            case 3 where rest.count > 4:
                let round = rest.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                self = .parked(ParkedCalls.Ticket(bytes: Array(rest.dropFirst(4))), round: round)
            default: return nil
            }
        }
    }

    private let states: Seal
    private let tasks: Seal
    private let time: any TimeSource
    /// How long an answer to a question may take, in milliseconds.
    private static let lifetime: Int64 = 600_000
    /// Longer than any state of ours unless an owner's own is huge.
    private static let charactersMax = 1 << 20

    init(keys: SealKeys, time: any TimeSource) {
        states = Seal(keys: keys.derived(for: "mcp-gateway request state"))
        tasks = Seal(keys: keys.derived(for: "mcp-gateway task handle"))
        self.time = time
    }

    /// Form inside: expiry (8), digest of the call (32), length of the caller's name (2), the name, content.
    func seal(_ content: Content, of inbound: InboundMessage, owner: String) -> String {
        let expires = UInt64(bitPattern: time.wallMilliseconds() + Self.lifetime)
        var plain = (0..<8).map { UInt8(truncatingIfNeeded: expires >> UInt64(8 * (7 - $0))) }
        plain += Self.digest(of: inbound, owner: owner)
        let caller = Array(inbound.caller.name.utf8.prefix(1_000))
        plain += [UInt8(caller.count >> 8), UInt8(caller.count & 255)] + caller
        return states.seal(plain + content.bytes)
    }

    /// nil for whatever was not sealed here for this caller and call, or too long ago.
    func open(_ text: String, for inbound: InboundMessage, owner: String) -> Content? {
        guard let plain = states.open(text, charactersMax: Self.charactersMax), plain.count > 42 else { return nil }
        let expires = Int64(bitPattern: plain[..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
        guard time.wallMilliseconds() < expires, Array(plain[8..<40]) == Self.digest(of: inbound, owner: owner) else {
            return nil
        }
        let nameEnd = 42 + Int(plain[40]) << 8 + Int(plain[41])
        guard nameEnd <= plain.count, plain[42..<nameEnd].elementsEqual(inbound.caller.name.utf8.prefix(1_000)) else {
            return nil
        }
        return Content(plain[nameEnd...])
    }

    /// Whether a request brings back something that was sealed here for its caller, not too long ago; for which call is
    /// not looked at.
    func isOurs(_ inbound: InboundMessage) -> Bool {
        let bytes = inbound.bytes.readableBytesUInt8Span
        guard let member = inbound.message.member("requestState", in: bytes), member.kind == .string,
            let plain = states.open(
                JSONText.string(bytes, value: member.value), charactersMax: Self.charactersMax), plain.count > 42
        else { return false }
        let expires = Int64(bitPattern: plain[..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
        let nameEnd = 42 + Int(plain[40]) << 8 + Int(plain[41])
        return time.wallMilliseconds() < expires && nameEnd <= plain.count
            && plain[42..<nameEnd].elementsEqual(inbound.caller.name.utf8.prefix(1_000))
    }

    /// What the call is: its method, whom it is for, and its arguments, whatever their spelling. Its owner as well: a
    /// name may lead to another one by the time the client comes back.
    private static func digest(of inbound: InboundMessage, owner: String) -> [UInt8] {
        let bytes = inbound.bytes.readableBytesUInt8Span
        var text: [UInt8] = Array(owner.utf8) + [0] + Array(inbound.message.method.name.utf8) + [0]
        for key: StaticString in ["name", "uri", "arguments"] {
            if let member = inbound.message.member(key, in: bytes),
                let value = try? JSONValue.parse(bytes.extracting(member.value), limits: WireLimits(bytesMax: .max))
            {
                value.canonical.write(to: &text)
            }
            text.append(0)
        }
        return Seal.digest(text)
    }

    // MARK: Tasks

    /// A handle for a task that an upstream carries out: it says whose it is, and is good for this caller alone.
    func handle(task: String, owner: String, caller: Caller) -> String {
        tasks.seal(Array("\(owner)\u{0}\(caller.name)\u{0}\(task)".utf8))
    }

    func task(_ handle: String, caller: Caller) -> (owner: String, task: String)? {
        guard let plain = tasks.open(handle, charactersMax: 4_096) else { return nil }
        let parts = plain.split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, parts[1].elementsEqual(caller.name.utf8) else { return nil }
        return (String(decoding: parts[0], as: UTF8.self), String(decoding: parts[2], as: UTF8.self))
    }
}
