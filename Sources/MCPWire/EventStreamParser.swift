// Licensed under the Apache License 2.0; see LICENSE.

/// Takes a server-sent event stream apart, however it is cut into pieces.
///
/// Understands all three line ends, comments, several `data:` lines in one event, and a byte order mark. Events without
/// data are dropped, as the format says. Not a validator: whatever is no field is ignored.
public struct EventStreamParser: Sendable {
    public struct Event: Sendable, Equatable {
        /// The `event:` field; `message` when there was none.
        public var name: String
        public var data: [UInt8]
        /// The last `id:` field of the stream up to here, as a client repeats it after a break.
        public var id: String?
    }

    private let eventBytesMax: Int
    private var line: [UInt8] = []
    private var data: [UInt8] = []
    private var hasData = false
    private var name = ""
    /// The `id:` field of the event that is still coming.
    private var comingID: String?
    /// The last `id:` field of a whole event, also of one without data: where a client goes on after a break.
    public private(set) var id: String?
    /// The last `retry:` field: how long to wait before coming back, in milliseconds.
    public private(set) var retryMilliseconds: Int?
    private var lastWasReturn = false
    private var isFirstLine = true

    /// - Parameter eventBytesMax: longest event, in bytes of data, and longest line.
    public init(eventBytesMax: Int) { self.eventBytesMax = eventBytesMax }

    /// Takes the next piece and returns the events that it completes.
    public mutating func feed(_ bytes: Span<UInt8>) throws(WireError) -> [Event] {
        var events: [Event] = []
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            let isSecondHalf = lastWasReturn && byte == 0x0a
            lastWasReturn = byte == 0x0d
            switch byte {
            case 0x0a, 0x0d:
                if !isSecondHalf { endLine(&events) }
                index += 1
            default:
                let end = Self.lineEnd(bytes, from: index)
                guard line.count + data.count + (end - index) <= eventBytesMax + 16 else {
                    throw WireError(.tooLarge, "an event is longer than \(eventBytesMax) bytes")
                }
                // The piece is copied before the closure ends.
                unsafe bytes.extracting(index..<end).withUnsafeBufferPointer { unsafe line.append(contentsOf: $0) }
                index = end
            }
        }
        return events
    }

    /// The next line end, or the end of the piece. Eight bytes at a time: a large answer is one long line.
    private static func lineEnd(_ bytes: Span<UInt8>, from start: Int) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let raw = unsafe bytes.bytes
        var index = start
        while index + 8 <= bytes.count {
            // In bounds by the loop's own condition.
            let word = unsafe raw.unsafeLoadUnaligned(fromUncheckedByteOffset: index, as: UInt64.self)
            let feeds = word ^ (ones &* 0x0a)
            let returns = word ^ (ones &* 0x0d)
            if (((feeds &- ones) & ~feeds) | ((returns &- ones) & ~returns)) & (ones &* 0x80) != 0 { break }
            index += 8
        }
        while index < bytes.count, bytes[index] != 0x0a, bytes[index] != 0x0d { index += 1 }
        return index
    }

    private mutating func endLine(_ events: inout [Event]) {
        defer { line.removeAll(keepingCapacity: true) }
        if isFirstLine {
            isFirstLine = false
            if line.starts(with: [0xef, 0xbb, 0xbf]) { line.removeFirst(3) }
        }
        guard !line.isEmpty else {
            // Half an event was not received: a client asks for it again.
            if let comingID { id = comingID }
            comingID = nil
            if hasData { events.append(Event(name: name.isEmpty ? "message" : name, data: data, id: id)) }
            data.removeAll()
            hasData = false
            name = ""
            return
        }
        let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.count
        guard colon > 0 else { return }
        var value = line[min(colon + 1, line.count)...]
        if value.first == 0x20 { value = value.dropFirst() }
        switch String(decoding: line[..<colon], as: UTF8.self) {
        case "data":
            if hasData { data.append(0x0a) }
            hasData = true
            data.append(contentsOf: value)
        case "event": name = String(decoding: value, as: UTF8.self)
        case "id" where !value.contains(0): comingID = String(decoding: value, as: UTF8.self)
        case "retry":
            let text = String(decoding: value, as: UTF8.self)
            if text.utf8.count < 10, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
                retryMilliseconds = Int(text)
            }
        default: break
        }
    }
}
