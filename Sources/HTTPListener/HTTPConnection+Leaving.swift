// Licensed under the Apache License 2.0; see LICENSE.

/// What a stop has to know of a connection.
extension HTTPConnection {
    /// Whether a request is on its way that its client cannot know to be late: it is being read, or it is the first one
    /// and has not begun.
    var isExpected: Bool {
        switch phase {
        case .idle: !hasServed
        case .receiving: true
        case .answering, .closing: false
        }
    }
}
