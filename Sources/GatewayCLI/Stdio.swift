// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// Serves one client over standard input and output.
struct Stdio: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serves one MCP client over standard input and output.",
        discussion: """
            Example: mcp-gateway stdio --config config/default.toml

            A client that starts its servers as processes names this command. A gateway that runs already from the same
            configuration serves it; where none runs, this process is one while its client stays. Nothing but MCP
            messages goes to standard output.
            Exit status: 0 the client ended, 1 could not serve, 78 the configuration is wrong.
            """)

    @OptionGroup var configuration: ConfigurationOption

    func run() async throws {
        HelperProcess.begin("stdio")
        try configuration.turnStrangersAway()
        let environment = ProcessEnvironment.current()
        // Secrets that only the service may read are none of the client's who is served by it. What else is wrong is
        // said when this process has to be the gateway.
        let known = try? configuration.settingsForOperators(isQuiet: true)
        do throws(StartError) {
            if let known, try await StdioRelay(settings: known, environment: environment).serveByRunning() { return }
            let settings: GatewaySettings
            do { settings = try configuration.load() } catch { Self.exit(withError: error) }
            try await StdioRelay(settings: settings, environment: environment).run()
        } catch {
            Terminal.complain("mcp-gateway: \(error.words)")
            throw ExitCode(1)
        }
    }
}
