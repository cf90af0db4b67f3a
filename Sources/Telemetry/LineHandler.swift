// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import Logging

/// Where finished lines of the daemon's log go.
package protocol LogOutput: Sendable {
    /// What is below this is not written.
    var level: Logger.Level { get }
    var format: LogFormat { get }
    /// Takes one line with its newline. Never throws and never waits for a reader: what cannot be written is counted.
    func write(_ line: [UInt8])
}

extension LogOutput {
    /// A logger for one part of the house. Its level follows the output's, unless somebody sets the logger's own.
    package func logger(component: String, time: any TimeSource) -> Logger {
        let handler = LineHandler(output: self, component: component, time: time)
        return Logger(label: component) { (_: String) -> any LogHandler in handler }
    }
}

/// Turns events of swift-log into lines.
struct LineHandler: LogHandler {
    let output: any LogOutput
    let component: String
    let time: any TimeSource
    private var ownLevel: Logger.Level?

    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?

    init(output: any LogOutput, component: String, time: any TimeSource) {
        self.output = output
        self.component = component
        self.time = time
    }

    var logLevel: Logger.Level {
        get { ownLevel ?? output.level }
        set { ownLevel = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { _, new in new } }
        if let own = event.metadata { all.merge(own) { _, new in new } }
        if let error = event.error { all["cause"] = "\(error)" }
        let requestID = all.removeValue(forKey: LogKey.requestID)
        // Sorted, so that the same event always reads the same.
        let facts = all.sorted { $0.key < $1.key }.map { (key: $0.key, value: $0.value.description) }
        let line = LogLine(
            milliseconds: time.wallMilliseconds(), level: event.level, component: component,
            message: event.message.description, facts: facts, requestID: requestID?.description)
        output.write(output.format == .json ? line.json() : line.text())
    }
}
