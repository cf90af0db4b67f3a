// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// The status, live.
struct Top: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows how the running gateway is, again and again.",
        discussion: """
            Example: mcp-gateway top --interval 1s

            On a terminal the screen stays in its place: q or Ctrl-C ends it, space asks at once. Elsewhere one screen
            comes after the other. When the gateway goes away it says so, and goes on asking.
            Exit status: 0 ended, 1 no gateway runs, or none answered the last time.
            """)

    @OptionGroup var configuration: ConfigurationOption

    @Flag(help: "Print the gateway's JSON, a line each time.")
    var json = false

    @Option(help: "How long between two screens, 0.5s to 60s.")
    var interval = "2s"

    @Option(help: "Ends after so many screens. Default: when somebody ends it.")
    var count: Int?

    func validate() throws {
        _ = try pause
        if let count, count < 1 { throw ValidationError("--count takes a number from 1 on") }
    }

    private var pause: Duration {
        get throws {
            guard let pause = OrderWords.duration(interval, in: LiveStatus.intervals) else {
                throw ValidationError("--interval takes a time from 0.5s to 60s, not '\(interval)'")
            }
            return pause
        }
    }

    func run() throws {
        HelperProcess.begin("top")
        let settings = try configuration.settingsForOperators()
        let live = LiveStatus(
            client: ControlClient(socketPath: settings.admin.controlSocket), interval: try pause, count: count,
            look: Terminal.look)
        do throws(StartError) {
            if try live.run(json: json) { return }
        } catch {
            Terminal.complain("mcp-gateway: \(error.words)")
        }
        throw ExitCode(1)
    }
}
