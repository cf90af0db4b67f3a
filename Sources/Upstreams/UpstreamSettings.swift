// Licensed under the Apache License 2.0; see LICENSE.

package import Outbound

/// One upstream server, as the configuration describes it.
package struct UpstreamSettings: Sendable {
    package enum Place: Sendable {
        /// An absolute http or https address, and headers sent with every request. Their values may be secrets: never
        /// logged.
        case http(url: String, headers: [(name: String, value: String)])
        /// A command that speaks MCP over its standard input and output.
        case stdio(ChildCommand)
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
}
