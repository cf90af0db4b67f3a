// Licensed under the Apache License 2.0; see LICENSE.

package import Outbound

/// One upstream server, as the configuration describes it.
package struct UpstreamSettings: Sendable, Equatable {
    package enum Place: Sendable, Equatable {
        /// An absolute http or https address, and headers sent with every request. Their values may be secrets: never
        /// logged.
        case http(url: String, headers: [(name: String, value: String)])
        /// A command that speaks MCP over its standard input and output.
        case stdio(ChildCommand)

        /// By bytes: a header that only looks the same is another one.
        package static func == (left: Place, right: Place) -> Bool {
            switch (left, right) {
            case (.http(let url, let headers), .http(let otherURL, let others)):
                url.utf8.elementsEqual(otherURL.utf8)
                    && headers.elementsEqual(others) {
                        $0.name.utf8.elementsEqual($1.name.utf8) && $0.value.utf8.elementsEqual($1.value.utf8)
                    }
            case (.stdio(let command), .stdio(let other)): command == other
            case (.http, .stdio), (.stdio, .http): false
            }
        }
    }

    package var name: String
    package var place: Place
    /// The longest one call may take.
    package var timeout: Duration
    /// Longest answer, in bytes.
    package var answerBytesMax: Int

    /// Conversations with single clients at a time, besides the one that all share: sessions over HTTP, processes over
    /// stdio.
    package var sideSessionsMax: Int

    package init(name: String, place: Place, timeout: Duration, answerBytesMax: Int = 16 << 20) {
        switch place {
        case .http: sideSessionsMax = 256
        case .stdio: sideSessionsMax = 32
        }
        self.name = name
        self.place = place
        self.timeout = timeout
        self.answerBytesMax = answerBytesMax
    }

    /// Whether an upstream that was made with these settings can go on with the others: nothing differs but what can
    /// change while it goes on.
    func canBecome(_ other: UpstreamSettings) -> Bool {
        var mine = self
        (mine.timeout, mine.sideSessionsMax) = (other.timeout, other.sideSessionsMax)
        return mine == other
    }
}
