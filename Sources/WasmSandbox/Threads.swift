// Licensed under the Apache License 2.0; see LICENSE.

internal import CWasmtime
internal import Glibc

/// A counting bell: each ring lets one waiter through.
@safe final class Bell: @unchecked Sendable {
    // A semaphore is made to be shared between threads.
    private let semaphore: UnsafeMutablePointer<sem_t>

    init() {
        unsafe semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
        unsafe semaphore.initialize(to: sem_t())
        unsafe sem_init(semaphore, 0, 0)
    }

    deinit {
        unsafe sem_destroy(semaphore)
        unsafe semaphore.deallocate()
    }

    func ring() { unsafe sem_post(semaphore) }

    func wait() { while unsafe sem_wait(semaphore) != 0 {} }
}

/// A flag that ends a guest's run, or its wait, from any thread.
@safe final class CancelFlag: @unchecked Sendable {
    // The C side holds one atomic bool.
    let raw: OpaquePointer

    init() { unsafe raw = cwasm_flag_new() }
    deinit { unsafe cwasm_flag_delete(raw) }

    func raise() { unsafe cwasm_flag_raise(raw) }
    var isRaised: Bool { unsafe cwasm_flag_is_raised(raw) }
}

/// Where one guest at a time has its input, output and log. Belongs to one worker thread.
@safe final class Seat {
    let raw: OpaquePointer
    /// What the guest of now was given, which it mostly has to hold as well.
    var inputBytes = 0

    init() { unsafe raw = cwasm_guest_new() }
    deinit { unsafe cwasm_guest_delete(raw) }

    func trim() { unsafe cwasm_guest_trim(raw) }
}

enum SandboxThread {
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Starts a thread with the stack that guests need; it ends when `body` returns. False when the machine has no
    /// more.
    static func start(_ name: String, body: @escaping @Sendable () -> Void) -> Bool {
        let context = unsafe Unmanaged.passRetained(Body(body))
        let started = unsafe cwasm_start_thread(
            name, Engine.threadStackBytes,
            { raw in
                if let raw = unsafe raw { unsafe Unmanaged<Body>.fromOpaque(raw).takeRetainedValue().run() }
            }, context.toOpaque())
        if !started { unsafe context.release() }
        return started
    }
}
