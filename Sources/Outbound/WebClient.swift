// Licensed under the Apache License 2.0; see LICENSE.

internal import AsyncHTTPClient
internal import NIOCore
internal import NIOHTTP1
package import NIOPosix

/// HTTP to servers that an operator has named, for what is not on the way of a call. Follows no redirects.
package final class WebClient: Sendable {
    private let client: HTTPClient

    /// Of an answer only so much is read.
    private static let answerBytesMax = 16 << 10

    package init(group: MultiThreadedEventLoopGroup) {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.httpVersion = .http1Only
        configuration.timeout.connect = .seconds(5)
        configuration.timeout.read = .seconds(10)
        configuration.connectionPool.idleTimeout = .seconds(30)
        client = HTTPClient(eventLoopGroupProvider: .shared(group), configuration: configuration)
    }

    package enum Outcome: Sendable {
        /// With the status.
        case answered(Int)
        /// There was no answer, and why.
        case failed(String)
    }

    /// One POST; waits for the whole answer, at most so long: the library's own limit ends with the head of it.
    package func post(
        _ address: String, contentType: String, body: [UInt8], within patience: Duration
    ) async -> Outcome {
        await withTaskGroup(of: Outcome?.self) { group in
            group.addTask { await self.send(address, contentType, body, patience) }
            group.addTask {
                // Ends early when there is an answer.
                try? await Task.sleep(for: patience)
                return nil
            }
            defer { group.cancelAll() }
            return (await group.next() ?? nil) ?? .failed("no whole answer within \(patience.components.seconds) s")
        }
    }

    private func send(
        _ address: String, _ contentType: String, _ body: [UInt8], _ patience: Duration
    ) async -> Outcome {
        var request = HTTPClientRequest(url: address)
        request.method = .POST
        request.headers.add(name: "content-type", value: contentType)
        request.body = .bytes(ByteBuffer(bytes: body))
        do {
            let answer = try await client.execute(request, timeout: .nanoseconds(Self.nanoseconds(patience)))
            // What it says beyond its status is of no use, but the connection is only free when it is read.
            _ = try? await answer.body.collect(upTo: Self.answerBytesMax)
            return .answered(Int(answer.status.code))
        } catch let error as HTTPClientError {
            return .failed(error.shortDescription)
        } catch {
            return .failed(Self.words(error))
        }
    }

    private static func words(_ error: any Error) -> String {
        if let refusal = error as? NIOConnectionError {
            return "nobody takes connections at \(refusal.host):\(refusal.port)"
        }
        return "\(error)"
    }

    private static func nanoseconds(_ duration: Duration) -> Int64 {
        duration.components.seconds * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000
    }

    /// Closes the connections. Afterwards nothing can be sent.
    package func close() async {
        // What cannot be closed ends with the process.
        try? await client.shutdown()
    }
}
