// Licensed under the Apache License 2.0; see LICENSE.

/// What content types a request carries and takes.
enum Negotiation {
    enum Accepts { case json, events, both, neither }

    static func isJSON(_ type: String?) -> Bool {
        guard let type else { return false }
        if type == "application/json" { return true }
        return type.prefix { $0 != ";" }.lowercased().filter { $0 != " " } == "application/json"
    }

    static func takesEvents(_ values: [String]) -> Bool {
        let accepts = accepts(values)
        return accepts == .events || accepts == .both
    }

    /// No Accept header means anything will do (RFC 9110, 12.5.1).
    static func accepts(_ values: [String]) -> Accepts {
        if values.isEmpty { return .json }
        // What real clients send, word for word; taking it apart each time would cost a twentieth of a call.
        if values.count == 1, values[0] == "application/json, text/event-stream" { return .both }
        var json = false
        var events = false
        for item in values.joined(separator: ",").split(separator: ",") {
            let range = item.prefix { $0 != ";" }.lowercased().filter { $0 != " " && $0 != "\t" }
            switch range {
            case "application/json", "application/*": json = true
            case "text/event-stream", "text/*": events = true
            case "*/*": json = true
            default: break
            }
        }
        switch (json, events) {
        case (true, true): return .both
        case (true, false): return .json
        case (false, true): return .events
        case (false, false): return .neither
        }
    }
}
