# Licensed under the Apache License 2.0; see LICENSE.
"""The tools of the fixture servers, one step each; see fixtures_behaviour.py for what a step is."""

import json

import fixtures_catalogue as catalogue
from fixtures_behaviour import (
    ROOTS, WATCHED, NeedsInput, Refusal, accepted, answer, failed, form, pause, sample, step, text)

FIELD = catalogue.TEXT
RESOURCE = {"uri": "test://embedded-resource", "mimeType": "text/plain", "text": "This is an embedded resource content."}
DATA = json.dumps({"test": "data", "value": 123})
MIXED = {"uri": "test://mixed-content-resource", "mimeType": "application/json", "text": DATA}
PICTURE = {"type": "image", "data": catalogue.PNG, "mimeType": "image/png"}
NAME = form("What is your name?", ["name"], name=FIELD)
CONFIRM = form("Go on?", ["ok"], ok={"type": "boolean"})


@step("about")
async def about(world, call):
    known = {"server": world.name, "modern": call.modern, "capabilities": call.capabilities, **call.identity}
    return text(json.dumps(known))


@step("whoami_meta")
async def whoami_meta(world, call):
    return text(json.dumps(call.meta))


@step("test_simple_text")
async def simple_text(world, call):
    return text("This is a simple text response for testing.")


@step("test_image_content")
async def image(world, call):
    return {"content": [PICTURE]}


@step("test_audio_content")
async def audio(world, call):
    return {"content": [{"type": "audio", "data": catalogue.WAV, "mimeType": "audio/wav"}]}


@step("test_embedded_resource")
async def embedded(world, call):
    return {"content": [{"type": "resource", "resource": RESOURCE}]}


@step("test_multiple_content_types")
async def mixed(world, call):
    words = {"type": "text", "text": "Multiple content types test:"}
    return {"content": [words, PICTURE, {"type": "resource", "resource": MIXED}]}


@step("linked_resource")
async def linked(world, call):
    return {"content": [{"type": "resource_link", "uri": "test://static-text", "name": "static-text", "mimeType": "text/plain"}]}


@step("structured_sum")
async def structured_sum(world, call):
    data = {"sum": call.arguments["a"] + call.arguments["b"]}
    return text(json.dumps(data), structuredContent=data)


@step("structured_list")
async def structured_list(world, call):
    return text("[1, 2, 3]", structuredContent=[1, 2, 3])


@step("routed_echo")
async def routed_echo(world, call):
    return text(json.dumps(call.arguments))


@step("json_schema_2020_12_tool")
async def rich(world, call):
    return text(f"Taken: {json.dumps(call.arguments, sort_keys=True)}")


@step("extra_tool", "triggered_tool")
async def extra(world, call):
    return text("I am here for now.")


@step("test_error_handling")
async def error(world, call):
    return failed("This tool intentionally returns an error for testing")


@step("test_tool_with_logging")
async def with_logging(world, call):
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await call.log("info", words)
        await pause()
    return text("Tool with logging executed successfully")


@step("test_logging_tool")
async def at_three_levels(world, call):
    for level in ("debug", "info", "error"):
        await call.log(level, f"A message at {level}")
    return text("Logged at three levels.")


@step("test_tool_with_progress")
async def with_progress(world, call):
    for progress in (0, 50, 100):
        await call.progress(progress, 100)
        await pause()
    return text("Progress reported.")


@step("slow_progress")
async def slow_progress(world, call):
    steps, tag = call.arguments.get("steps", 3), call.arguments.get("tag", "untagged")
    for number in range(1, steps + 1):
        await call.progress(number, steps, f"{tag} {number}")
        await call.log("info", {"tag": tag, "step": number}, logger=tag)
        await pause(call.arguments.get("pause", 0.05))
    return text(f"{tag}: {steps} steps")


@step("test_reconnection")
async def reconnection(world, call):
    await call.hang_up()
    await pause(0.2)
    return text("Reconnection test completed successfully.")


def end(world, tag, how):
    with world.change() as state:
        state["ends"][tag] = how


@step("cancellable")
async def cancellable(world, call):
    tag = call.arguments.get("tag", "untagged")
    end(world, tag, "running")
    try:
        await call.progress(0, 1, f"{tag} runs")
        await pause(call.arguments.get("seconds", 5))
    except BaseException:  # whatever the SDK cancels with
        end(world, tag, "cancelled")
        raise
    end(world, tag, "finished")
    return text(f"{tag}: finished")


@step("was_cancelled")
async def was_cancelled(world, call):
    return text(world.look()["ends"].get(call.arguments.get("tag", "untagged"), "unknown"))


def toggle(state, name, present):
    """Makes a tool present or absent; without a wish, the other of what it is."""
    others = [each for each in state["tools"] if each != name]
    wanted = present if present is not None else name not in state["tools"]
    state["tools"] = others + [name] * wanted
    return wanted


@step("change_tools")
async def change_tools(world, call):
    with world.change("tools") as state:
        present = toggle(state, "extra_tool", call.arguments.get("present"))
    await call.changed("tools")
    return text(json.dumps(present))


@step("test_trigger_tool_change")
async def trigger_tools(world, call):
    with world.change("tools") as state:
        toggle(state, "triggered_tool", None)
    await call.changed("tools")
    return text("The tools have changed.")


@step("test_trigger_prompt_change")
async def trigger_prompts(world, call):
    with world.change("prompts") as state:
        state["prompts"] = not state["prompts"]
    await call.changed("prompts")
    return text("The prompts have changed.")


@step("change_resources")
async def change_resources(world, call):
    with world.change("resources") as state:
        state["extra"] = call.arguments.get("present", not state["extra"])
    await call.changed("resources")
    return text(json.dumps(state["extra"]))


@step("touch_watched")
async def touch_watched(world, call):
    with world.change() as state:
        state["touched"] += 1
    await call.updated(WATCHED)
    return text(str(state["touched"]))


@step("test_sampling")
async def sampling(world, call):
    return text(f"LLM response: {answer(call, 'completion', 'sampling', sample(call.arguments['prompt']))}")


@step("ask_model_and_echo")
async def ask_model(world, call):
    tag = call.arguments["tag"]
    return text(f"{tag}:{answer(call, 'word', 'sampling', sample(f'A word for {tag}?'))}")


@step("ask_and_echo")
async def ask_and_echo(world, call):
    tag = call.arguments["tag"]
    call.state = call.state or f"asked for {tag}"
    given = answer(call, "value", "elicitation", form(f"A value for {tag}?", ["value"], value=FIELD))
    return text(f"{tag}:{accepted(given, 'value')}")


@step("ask_url")
async def ask_url(world, call):
    tag = call.arguments.get("tag", "untagged")
    params = {"mode": "url", "message": f"Open a page for {tag}", "url": f"https://pages.invalid/{tag}"}
    if not call.modern:
        params["elicitationId"] = f"page-{tag}"
    given = answer(call, "page", "elicitation", {"method": "elicitation/create", "params": params})
    return text(f"{tag}:{given['action']}")


@step("test_elicitation")
async def elicitation(world, call):
    question = form(call.arguments["message"], ["username", "email"], username=FIELD, email={"type": "string", "format": "email"})
    given = answer(call, "details", "elicitation", question)
    return text(f"User response: {given['action']} {json.dumps(given.get('content') or {})}")


@step("test_elicitation_sep1034_defaults")
async def defaults(world, call):
    question = form(
        "Please look through these.", [], name={"type": "string", "default": "John Doe"}, age={"type": "integer", "default": 30},
        score={"type": "number", "default": 95.5}, verified={"type": "boolean", "default": True},
        status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"})
    given = answer(call, "details", "elicitation", question)
    return text(f"Elicitation completed: {given['action']} {json.dumps(given.get('content') or {}, sort_keys=True)}")


@step("test_elicitation_sep1330_enums")
async def enums(world, call):
    plain, titled = ["option1", "option2", "option3"], [{"const": f"value{n}", "title": f"Title {n}"} for n in (1, 2, 3)]
    question = form(
        "Please choose.", [], untitledSingle={"type": "string", "enum": plain}, titledSingle={"type": "string", "oneOf": titled},
        legacyEnum={"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
        untitledMulti={"type": "array", "items": {"type": "string", "enum": plain}, "minItems": 1, "maxItems": 2},
        titledMulti={"type": "array", "items": {"anyOf": titled}})
    given = answer(call, "choices", "elicitation", question)
    return text(f"Elicitation completed: {given['action']} {json.dumps(given.get('content') or {}, sort_keys=True)}")


@step("test_missing_capability")
async def missing_capability(world, call):
    if "sampling" in call.capabilities:
        return text("The client lets its model be asked.")
    if call.modern:
        raise Refusal(-32021, "this tool asks the client's model", {"requiredCapabilities": {"sampling": {}}})
    return failed("this tool asks the client's model, which this client did not offer")


@step("test_streaming_elicitation")
async def streaming_elicitation(world, call):
    if call.modern or not call.responses:  # to a modern server each round is a request of its own, which begins anew
        await call.progress(1, 2, "asking")
    given = answer(call, "user_name", "elicitation", NAME)
    await call.progress(2, 2, "asked")
    return text(f"Hello, {accepted(given, 'name')}!")


@step("test_input_required_result_elicitation")
async def needs_name(world, call):
    return text(f"Hello, {accepted(answer(call, 'user_name', 'elicitation', NAME), 'name')}!")


@step("test_input_required_result_sampling")
async def needs_model(world, call):
    return text(f"The model said: {answer(call, 'capital_question', 'sampling', sample('What is the capital of France?'))}")


@step("test_input_required_result_list_roots")
async def needs_roots(world, call):
    return text("Roots: " + ", ".join(root["uri"] for root in answer(call, "client_roots", "roots", ROOTS)))


@step("test_input_required_result_request_state", "test_input_required_result_tampered_state")
async def needs_state(world, call):
    if call.state is None:
        raise NeedsInput({"confirm": CONFIRM}, "the state of a confirmation")
    given = answer(call, "confirm", "elicitation", CONFIRM)
    return text(f"state-ok {call.state == 'the state of a confirmation'} {given['action']}")


@step("test_input_required_result_multiple_inputs")
async def needs_three(world, call):
    requests = {"user_name": NAME, "greeting": sample("Say hello."), "client_roots": ROOTS}
    missing = {key: request for key, request in requests.items() if not isinstance((call.responses or {}).get(key), dict)}
    if missing:
        raise NeedsInput(missing, "the state of three questions")
    name = answer(call, "user_name", "elicitation", NAME)
    greeting, roots = answer(call, "greeting", "sampling", None), answer(call, "client_roots", "roots", None)
    return text(f"{greeting} {accepted(name, 'name')}, you have {len(roots)} roots.")


@step("test_input_required_result_multi_round")
async def needs_two_rounds(world, call):
    first, second = form("Step 1?", ["value"], value=FIELD), form("Step 2?", ["value"], value=FIELD)
    state = json.loads(call.state) if call.state else {"round": 1}
    if state["round"] == 1:
        call.state = json.dumps(state)
        state = {"round": 2, "first": accepted(answer(call, "step1", "elicitation", first), "value")}
        raise NeedsInput({"step2": second}, json.dumps(state))
    return text(f"{state['first']}, then {accepted(answer(call, 'step2', 'elicitation', second), 'value')}")


@step("test_input_required_result_capabilities")
async def needs_what_there_is(world, call):
    able = {"elicitation": ("user_name", NAME), "sampling": ("greeting", sample("Say hello.")), "roots": ("client_roots", ROOTS)}
    requests = dict(question for capability, question in able.items() if capability in call.capabilities)
    if not requests:
        return text("This client can be asked nothing.")
    if set(requests) - set(call.responses or {}):
        raise NeedsInput(requests)
    return text("Got: " + ", ".join(sorted(requests)))


@step("greet")
async def greet(world, call):
    return text(f"Hello, {call.arguments.get('name', 'World')}!")


@step("slow_compute")
async def slow_compute(world, call):
    await pause(call.arguments["seconds"])
    return text(f"Computed {call.arguments.get('label', 'something')}.")


@step("failing_job")
async def failing_job(world, call):
    await pause()
    return failed("The job failed.")


@step("protocol_error_job")
async def protocol_error_job(world, call):
    await pause()
    raise Refusal(-32603, "The job broke the protocol.")


@step("confirm_delete")
async def confirm_delete(world, call):
    name = call.arguments["filename"]
    question = form(f"Really delete {name}?", ["confirm"], confirm={"type": "boolean"})
    agreed = accepted(answer(call, "confirm", "elicitation", question), "confirm") is True
    return text(f"{'Deleted' if agreed else 'Kept'} {name}.")


@step("multi_input")
async def multi_input(world, call):
    requests = {each: form(f"Your {each}?", [each], **{each: FIELD}) for each in ("colour", "animal")}
    missing = {key: request for key, request in requests.items() if not isinstance((call.responses or {}).get(key), dict)}
    if missing:
        raise NeedsInput(missing)
    return text("You like " + " and ".join(str(accepted(call.responses[key], key)) for key in requests) + ".")


@step("test_tool_with_task")
async def tool_with_task(world, call):
    given = accepted(answer(call, "user_input", "elicitation", form("What to work on?", ["input"], input=FIELD)), "input")
    await pause()
    return text(f"Worked on {given}.")
