// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// Has the running gateway take nothing new.
struct Drain: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Has the running gateway take no new calls, and waits until none runs any more.",
        discussion: """
            Example: mcp-gateway drain --wait 1m

            Until it is undone or the gateway is restarted, /health says unhealthy, so that a balancer sends calls
            elsewhere.
            Exit status: 0 nothing runs any more, 1 calls still run, or no gateway runs.
            """)

    @OptionGroup var options: OperatorOptions

    @Option(help: "How long to wait for calls that run, such as 30s; 0 for not at all.")
    var wait = "30s"

    @Flag(help: "Take new calls again.")
    var undo = false

    @OptionGroup var lasting: LastingOption

    func validate() throws {
        _ = try patience
        if undo, lasting.lasts != nil { throw ValidationError("--for does not go with --undo") }
    }

    private var patience: Duration {
        get throws {
            guard let patience = OrderWords.duration(wait, in: .zero ... .seconds(86_400)) else {
                throw ValidationError("--wait takes a time of at most a day, such as 30s or 5m, not '\(wait)'")
            }
            return patience
        }
    }

    func run() throws {
        let (patience, lasts) = (try patience, try lasting.words)
        try options.run("drain") { client throws(StartError) in
            if undo { return try client.endDrain() }
            return try client.drain(wait: patience, lasts: lasts) { words in
                if Terminal.isWatched { Terminal.complain(words) }
            }
        }
    }
}
