// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import CHost
import GatewayDaemon
import Glibc

/// Runs the daemon.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs the gateway until TERM or INT.",
        discussion: """
            Example: mcp-gateway serve --config config/default.toml

            Exit status: 0 stopped as told, 1 could not start or keep running, 78 the configuration is wrong.
            """)

    @OptionGroup var configuration: ConfigurationOption

    func run() async throws {
        unsafe csystem_set_process_name("mcp-gateway")
        do throws(StartError) {
            let signals = try SignalSource()
            try await serve(signals)
        } catch {
            Terminal.complain("mcp-gateway: \(error.words)")
            throw ExitCode(1)
        }
    }

    private func serve(_ signals: SignalSource) async throws(StartError) {
        let settings: GatewaySettings
        do { settings = try configuration.load() } catch { Self.exit(withError: error) }
        let environment = ProcessEnvironment.current()
        // Under systemd nobody reads a greeting, and the journal is no place for it. Nor is a pipe on which all other
        // lines are JSON.
        let isService = environment["INVOCATION_ID"] != nil
        let greets = !isService && (settings.log.format == .text || isatty(STDOUT_FILENO) == 1)
        try await Daemon(settings: settings, environment: environment).run(signals: signals) { text in
            if greets { Terminal.say(text) }
        }
    }
}
