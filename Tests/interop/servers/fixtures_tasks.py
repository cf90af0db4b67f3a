# Licensed under the Apache License 2.0; see LICENSE.
"""The Tasks extension of 2026-07-28 for the modern fixture server; the SDK has none.

A task takes the same step that a plain call would take, in the background. Its questions wait in the task for `tasks/update`.
"""

import asyncio
import secrets
from datetime import datetime, timezone

import mcp_types as types
from fixtures_behaviour import NeedsInput, Refusal, call_tool
from mcp.shared.exceptions import MCPError

EXTENSION = "io.modelcontextprotocol/tasks"
REQUIRED = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
ALWAYS, ONLY = {"slow_compute", "protocol_error_job", "confirm_delete", "multi_input"}, {"failing_job"}
AFTER_A_QUESTION = {"test_tool_with_task": "user_input"}


class TaskParams(types.RequestParams):
    task_id: str


class UpdateParams(TaskParams):
    input_responses: dict


def now():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Task:
    def __init__(self, world, tool, call):
        self.id, self.status, self.created, self.changed = "t_" + secrets.token_urlsafe(18), "working", now(), now()
        self.outcome, self.questions, self.answers, self.answered = {}, {}, {}, asyncio.Event()
        self.rounds = 0
        self.job = asyncio.create_task(self.run(world, tool, call))
        # One that is cancelled before it began never gets as far as saying so itself.
        self.job.add_done_callback(lambda job: self.become("cancelled") if job.cancelled() else None)

    def become(self, status, **outcome):
        self.status, self.outcome, self.changed = status, outcome, now()

    async def run(self, world, tool, call):
        # The request that began this is over: nothing can be sent on its stream any more.
        call.log = call.progress = nothing
        try:
            while True:
                try:
                    result = await call_tool(world, tool, call)
                    return self.become("completed", result=result)
                except NeedsInput as needs:
                    call.responses, call.state = {**(call.responses or {}), **await self.ask(needs.requests)}, needs.state
        except Refusal as refusal:
            self.become("failed", error={"code": refusal.code, "message": refusal.message})
            self.outcome["statusMessage"] = refusal.message
        except asyncio.CancelledError:
            self.become("cancelled")

    async def ask(self, requests):
        """Keys are never used twice in a task, so each carries its round."""
        self.rounds += 1
        names = {f"{key}.{self.rounds}": key for key in requests}
        self.questions, self.answers = {name: requests[key] for name, key in names.items()}, {}
        self.become("input_required")
        while self.questions:
            self.answered.clear()
            await self.answered.wait()
        self.become("working")
        return {names[name]: given for name, given in self.answers.items()}

    def update(self, responses):
        for name, given in responses.items():
            if name in self.questions and isinstance(given, dict):
                del self.questions[name]
                self.answers[name] = given
        self.changed = now()
        self.answered.set()

    def shape(self):
        shape = {"taskId": self.id, "status": self.status, "createdAt": self.created, "lastUpdatedAt": self.changed,
                 "ttlMs": 600_000, "pollIntervalMs": 100}
        return shape | self.outcome | ({"inputRequests": self.questions} if self.status == "input_required" else {})


async def nothing(*_, **__):
    pass


def declared(ctx):
    meta = (ctx.params or {}).get("_meta") or {}
    return EXTENSION in (meta.get("io.modelcontextprotocol/clientCapabilities") or {}).get("extensions", {})


class Tasks:
    def __init__(self, world):
        self.world, self.tasks = world, {}

    def register(self, server):
        for method, params, handler in (("tasks/get", TaskParams, self.get), ("tasks/update", UpdateParams, self.update),
                                        ("tasks/cancel", TaskParams, self.cancel)):
            server.add_request_handler(method, params, handler)

    async def call(self, tool, call):
        """The creation of a task if this call becomes one, else None."""
        able = call.modern and EXTENSION in call.capabilities.get("extensions", {})
        if tool in ONLY and call.modern and not able:
            raise MCPError(-32021, "this tool runs as a task only", REQUIRED)
        if not able or not (tool in ALWAYS | ONLY or AFTER_A_QUESTION.get(tool, "") in (call.responses or {})):
            return None
        task = Task(self.world, tool, call)
        self.tasks[task.id] = task
        return {"resultType": "task", **task.shape()}

    def find(self, ctx, params):
        if ctx.protocol_version < "2026-07-28":
            raise MCPError(-32601, "Method not found", ctx.method)
        if not declared(ctx):
            raise MCPError(-32021, "this client does not know tasks", REQUIRED)
        # The SDK compares `Mcp-Name` only for the methods of the core.
        if ctx.request is not None and ctx.request.headers.get("mcp-name") != params.task_id:
            raise MCPError(-32020, "the header Mcp-Name is not the task's id")
        task = self.tasks.get(params.task_id)
        if task is None:
            raise MCPError(-32602, "there is no such task")
        return task

    async def get(self, ctx, params):
        return {"resultType": "complete", **self.find(ctx, params).shape()}

    async def update(self, ctx, params):
        self.find(ctx, params).update(params.input_responses)
        return {"resultType": "complete"}

    async def cancel(self, ctx, params):
        task = self.find(ctx, params)
        if task.status in ("working", "input_required"):
            task.job.cancel()
        return {"resultType": "complete"}
