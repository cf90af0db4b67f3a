// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
package import HTTPListener
package import MCPWire
internal import NIOCore
package import Telemetry

/// `/health`, `/health/live` and `/health/ready`.
package struct HealthRoute: HTTPRoute {
    package enum Question: Sendable {
        /// How is it, in full?
        case whole
        /// Does the process run at all?
        case live
        /// May calls be sent to it?
        case ready
    }

    private let question: Question
    private let report: HealthReport
    private let door: OperatorDoor

    package init(_ question: Question, report: HealthReport, door: OperatorDoor) {
        self.question = question
        self.report = report
        self.door = door
    }

    package func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        guard exchange.isReading(request) else { return }
        if question == .live {
            return exchange.answer(.ok, .json, ByteBuffer(string: #"{"status":"healthy"}"#))
        }
        let components = report.components
        let status: HTTPStatus = HealthReport.overall(components) == .unhealthy ? .unavailable : .ok
        let isFull = question == .whole && door.admits(request)
        exchange.answer(status, .json, ByteBuffer(bytes: report.json(components, isFull: isFull)))
    }
}

/// `/metrics`, in the text format of Prometheus.
package struct MetricsRoute: HTTPRoute {
    private let registry: MetricsRegistry
    private let door: OperatorDoor

    package init(registry: MetricsRegistry, door: OperatorDoor) {
        self.registry = registry
        self.door = door
    }

    package func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        guard exchange.isReading(request) else { return }
        guard door.admits(request) else {
            return exchange.refuse(
                .forbidden, code: "operators_only",
                "Metrics are shown to callers on this machine; admin.public_metrics = true shows them to everybody."
            )
        }
        exchange.answer(.ok, .prometheus, ByteBuffer(bytes: registry.render()))
    }
}

/// `/admin/explain?tool=NAME&as=CALLER`: what would become of a call. Only on the control socket.
package struct ExplainRoute: HTTPRoute {
    private let explain: @Sendable (String, String?) -> JSONValue

    package init(explain: @escaping @Sendable (String, String?) -> JSONValue) { self.explain = explain }

    package func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        guard exchange.isReading(request) else { return }
        guard let name = request.query("tool"), !name.isEmpty else {
            return exchange.refuse(
                .badRequest, code: "tool_missing", "Say which tool is meant: /admin/explain?tool=NAME")
        }
        exchange.answer(
            .ok, .json, ByteBuffer(string: explain(String(name), request.query("as").map(String.init)).text))
    }
}

extension HTTPExchange {
    /// Refuses everything but GET and HEAD.
    fileprivate func isReading(_ request: HTTPRequest) -> Bool {
        if request.verb == .get || request.verb == .head { return true }
        refuse(
            .methodNotAllowed, code: "method_not_allowed", "This path answers GET and HEAD only.",
            headers: [("allow", "GET, HEAD")])
        return false
    }
}
