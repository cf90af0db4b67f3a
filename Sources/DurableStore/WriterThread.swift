// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import Telemetry

/// A thread that does one thing and ends. It takes no signals: those belong to whoever waits for them.
struct WriterThread: Sendable {
    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    private let handle: pthread_t

    /// Starts it.
    init(_ body: @escaping @Sendable () -> Void) throws(StoreError) {
        let held = unsafe Unmanaged.passRetained(Body(body))
        var all = sigset_t()
        var former = sigset_t()
        unsafe sigfillset(&all)
        unsafe pthread_sigmask(SIG_BLOCK, &all, &former)
        var handle = pthread_t()
        let code = unsafe pthread_create(
            &handle, nil,
            { context in
                if let context = unsafe context {
                    unsafe Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run()
                }
                return nil
            }, held.toOpaque())
        unsafe pthread_sigmask(SIG_SETMASK, &former, nil)
        guard code == 0 else {
            unsafe held.release()
            throw .unusable(what: "the store's thread", detail: SystemError.text(code))
        }
        self.handle = handle
    }

    /// Waits for its end. Once only.
    func join() { _ = pthread_join(handle, nil) }
}
