"""The graph of a large model in a browser: no box lies on another, groups fold, any layer is found."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

import quantscope.ui.components.graph as component
from tests.browser.test_flows import link, visit
from tests.graphs import model, node, randn, value
from tests.support import App, at_rest, ready

pytestmark = pytest.mark.browser
LAYOUT = (Path(component.__file__).parent / "layout.js").read_text(encoding="utf-8")
ARRANGED = f"""(cases) => {{ {LAYOUT}
  return cases.map(({{ data, open, width }}) => {{
    const plan = arrange(treeOf(data), new Set(open.map((at) => -2 - at)), width);
    const boxes = [...plan.boxes.values()].map(({{ inner, ...box }}) => ({{ ...box, open: !!inner }}));
    return {{ ...plan, boxes }};
  }});
}}"""


def case(seed: int) -> dict[str, Any]:
    """A random network with random groups, some of them open."""
    pick = random.Random(seed)
    count = pick.randrange(1, 50)
    groups = [{"path": str(at), "parent": pick.randrange(-1, at)} for at in range(pick.randrange(0, 8))]
    pairs = {tuple(sorted(pick.sample(range(count), 2))) for _ in range(pick.randrange(0, 70)) if count > 1}
    return {
        "data": {
            "layers": [{} for _ in range(count)],
            "groups": groups,
            "in": [pick.randrange(-1, len(groups)) for _ in range(count)],
            "links": sorted(pairs),
        },
        "open": [at for at in range(len(groups)) if pick.random() < 0.6],
        "width": pick.choice([300, 700, 1100]),
    }


def apart(a: dict[str, float], b: dict[str, float]) -> bool:
    across = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
    return across or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]


def test_no_box_lies_on_another_and_frames_hold_what_is_in_them(page: Any) -> None:
    cases = [case(seed) for seed in range(150)]
    for given, plan in zip(cases, page.evaluate(ARRANGED, cases), strict=True):
        parent = {at: place if place < 0 else -2 - place for at, place in enumerate(given["data"]["in"])}
        for at, group in enumerate(given["data"]["groups"]):
            parent[-2 - at] = -1 if group["parent"] < 0 else -2 - group["parent"]
        boxes = {box["key"]: box for box in plan["boxes"]}
        for key, box in boxes.items():
            assert 0 <= box["x"] < box["x"] + box["w"] <= plan["width"]
            assert 0 <= box["y"] < box["y"] + box["h"] <= plan["height"]
            around = boxes.get(parent[key])
            if around is not None:
                assert around["open"]
                assert around["x"] <= box["x"] < box["x"] + box["w"] <= around["x"] + around["w"]
                assert around["y"] < box["y"] < box["y"] + box["h"] <= around["y"] + around["h"]
            beside = [one for one in boxes.values() if one["key"] < key and parent[one["key"]] == parent[key]]
            assert all(apart(box, other) for other in beside)
        assert all(line["from"] in boxes and line["to"] in boxes for line in plan["links"])


def test_links_lead_on_and_a_long_chain_is_folded(page: Any) -> None:
    cases = [{**case(seed), "open": []} for seed in range(60)]
    for given in cases:
        given["data"] |= {"groups": [], "in": [-1] * len(given["data"]["layers"])}
    chain = {"layers": [{}] * 300, "groups": [], "in": [-1] * 300, "links": [[i, i + 1] for i in range(299)]}
    plans = page.evaluate(ARRANGED, [*cases, {"data": chain, "open": [], "width": 1100}])
    for plan in plans:
        boxes = {box["key"]: box for box in plan["boxes"]}
        for line in plan["links"]:
            a, b = boxes[line["from"]], boxes[line["to"]]
            assert a["row"] < b["row"] or (a["row"] == b["row"] and a["column"] < b["column"])
    assert plans[-1]["width"] <= 1100
    assert len({box["row"] for box in plans[-1]["boxes"]}) == 50  # of six layers each


@pytest.fixture(scope="module")
def deep(serve: Callable[..., App], tmp_path_factory: pytest.TempPathFactory) -> App:
    """A model of 40 blocks of four layers each."""
    nodes, weights, last = [], {}, "x"
    for block in range(40):
        for step, op in enumerate(("MatMul", "Tanh", "Mul", "Sigmoid")):
            name = f"stage.{block}.{('proj', 'act', 'scale', 'gate')[step]}"
            inputs = [last, f"{name}.w"] if op in ("MatMul", "Mul") else [last]
            if op in ("MatMul", "Mul"):
                weights[inputs[1]] = randn(6, 6, seed=block) if op == "MatMul" else randn(6, seed=block)
            nodes.append(node(op, inputs, [name], name=name))
            last = name
    nodes[-1].output[0] = "y"
    path = tmp_path_factory.mktemp("deep") / "deep.onnx"
    onnx.save(model(nodes, [value("x", ["N", 6])], [value("y", ["N", 6])], weights), path)
    return serve("app", path)


def overview(page: Any, app: App) -> Any:
    visit(page, app.url, "Overview")
    page.locator("[data-layer], [data-group]").first.wait_for()
    page.get_by_text("measuring…").first.wait_for(state="detached")
    ready(page)
    return page.locator("#graph")


def test_groups_fold_and_stay_as_they_were_left(page: Any, deep: App) -> None:
    graph = overview(page, deep)
    groups = graph.locator("[data-group]")
    assert groups.count() == 40
    assert graph.locator("[data-layer]").count() == 1  # the input
    third = graph.locator("[data-group='stage.2']")
    assert third.get_attribute("aria-expanded") == "false"
    third.focus()
    page.keyboard.press("Enter")
    inside = graph.locator("[data-layer^='stage.2.']")
    inside.nth(3).wait_for()
    assert inside.count() == 4
    assert third.get_attribute("aria-expanded") == "true"
    link(page, "Layers")
    link(page, "Overview")
    inside.nth(3).wait_for()
    page.reload()
    ready(page)
    inside.nth(3).wait_for()
    graph.get_by_role("button", name="Fold all groups", exact=True).click()
    inside.first.wait_for(state="detached")


def test_a_layer_is_found_in_a_folded_group(page: Any, deep: App) -> None:
    graph = overview(page, deep)
    graph.get_by_role("button", name="Fold all groups", exact=True).click()
    graph.get_by_role("searchbox").fill("tanh")
    graph.get_by_text("40 found").wait_for()
    graph.get_by_role("searchbox").fill("17.gate")
    graph.get_by_role("searchbox").press("Enter")
    found = graph.locator("[data-layer='stage.17.gate']")
    found.wait_for()
    graph.get_by_text("1 of 1", exact=True).wait_for()
    found.click()
    page.wait_for_url(re.compile("/inspector"))


def test_the_worst_layer_is_shown(page: Any, deep: App) -> None:
    graph = overview(page, deep)
    graph.get_by_role("button", name="Fold all groups", exact=True).click()
    graph.get_by_text("Go to the worst").click()
    hit = graph.locator("[data-layer].hit")
    hit.wait_for()
    first = hit.get_attribute("data-layer")
    graph.get_by_text("Next worst · 1").click()
    graph.get_by_text("Next worst · 2").wait_for()
    assert graph.locator("[data-layer]:focus").get_attribute("data-layer") != first


def test_the_wheel_is_the_pages_until_the_board_is_clicked(page: Any, deep: App) -> None:
    graph = overview(page, deep)
    graph.get_by_role("button", name="Unfold all groups", exact=True).click()
    board = graph.locator(".board")
    board.scroll_into_view_if_needed()
    main = page.get_by_test_id("stMain")
    main.evaluate("e => e.scrollTo(0, e.scrollHeight / 4)")
    world, box = board.locator("svg > g"), at_rest(board)
    page.mouse.move(box["x"] + 4, max(box["y"], 20) + 30)
    before = main.evaluate("e => e.scrollTop"), world.get_attribute("transform")
    page.mouse.wheel(0, 60)
    page.wait_for_function("([e, was]) => e.scrollTop !== was", arg=[main.element_handle(), before[0]])
    assert world.get_attribute("transform") == before[1]
    box = at_rest(board)
    page.mouse.click(box["x"] + 4, box["y"] + box["height"] / 2)
    board.and_(page.locator(".active")).wait_for()
    at = main.evaluate("e => e.scrollTop")
    page.mouse.wheel(0, 60)
    page.wait_for_function(
        "([e, was]) => e.getAttribute('transform') !== was", arg=[world.element_handle(), before[1]]
    )
    assert main.evaluate("e => e.scrollTop") == at
    page.keyboard.press("Escape")
