// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import Glibc
package import Telemetry

/// Logs in a directory of their own, for tests that ask what an operator would read. It goes away with them.
package final class ReadableLogs: Sendable {
    package let files: LogFiles
    private let directory: String

    package init(_ time: any TimeSource) throws {
        var template = Array("/tmp/logs-test-XXXXXX".utf8CString)
        directory = mkdtemp(&template).map { String(cString: $0) } ?? "/nonexistent"
        files = try LogFiles(LogSettings(directory: directory), time: time)
    }

    deinit {
        for name in ["app.log", "security.log"] { unlink("\(directory)/\(name)") }
        rmdir(directory)
    }

    /// The lines of `app.log` that have these words in them.
    package func lines(_ words: String) -> [String] {
        let file = open("\(directory)/app.log", O_RDONLY)
        guard file >= 0 else { return [] }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        let count = read(file, &buffer, buffer.count)
        let text = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        return text.split(separator: "\n").map(String.init).filter { $0.contains(words) }
    }
}
