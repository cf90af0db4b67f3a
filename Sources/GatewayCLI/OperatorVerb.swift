// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// What the verbs that give orders to a running gateway share.
enum OperatorVerb {
    /// Prints the answer; ends with 1 when there is none, or when it says that something is wrong.
    static func run(
        json: Bool, _ body: () throws(StartError) -> OperatorAnswer
    ) throws {
        do throws(StartError) {
            let answer = try body()
            Terminal.say(json ? answer.json : answer.screen)
            if answer.isGood { return }
        } catch {
            Terminal.complain("mcp-gateway: \(error.words)")
        }
        throw ExitCode(1)
    }
}
