"""Deleting: preconditions, propagation, finalizers, garbage, namespaces."""

from __future__ import annotations

from tests.conformance.exchanges.furniture import (
    CONFIG_MAPS,
    DEFINITIONS,
    DEPLOYMENTS,
    METADATA,
    METADATA_LIST,
    NS,
    PODS,
    SECRETS,
    WIDGETS,
    config_map,
    deployment,
    meta,
    owned,
    pod,
    secret,
    widget,
)
from tests.conformance.exchanges.play import Play, case

SETTINGS = f"{CONFIG_MAPS}/settings"


@case
def a_delete_answers_with_success(play: Play) -> None:
    play.make(CONFIG_MAPS, config_map())
    play.delete(SETTINGS)
    play.delete(SETTINGS)
    play.make(DEPLOYMENTS, deployment())
    play.delete(f"{DEPLOYMENTS}/web")
    play.make(WIDGETS, widget())
    play.delete(f"{WIDGETS}/first")


@case
def a_pod_is_deleted_at_once_when_it_has_no_node(play: Play) -> None:
    play.make(PODS, pod())
    play.delete(f"{PODS}/web", accept=METADATA)


@case
def a_pod_on_a_node_gets_its_grace(play: Play) -> None:
    play.make(PODS, pod(nodeName="nowhere", terminationGracePeriodSeconds=30))
    play.delete(f"{PODS}/web", accept=METADATA)
    play.delete(f"{PODS}/web", {"gracePeriodSeconds": 5}, accept=METADATA)
    play.delete(f"{PODS}/web", {"gracePeriodSeconds": 50}, accept=METADATA)
    play.get(f"{PODS}/web", accept=METADATA)
    play.delete(f"{PODS}/web", {"gracePeriodSeconds": 0}, accept=METADATA)
    play.get(f"{PODS}/web", accept=METADATA)


@case
def a_delete_with_a_precondition_that_fails_is_a_conflict(play: Play) -> None:
    made = play.make(CONFIG_MAPS, config_map())[0]
    play.delete(SETTINGS, {"preconditions": {"uid": "11111111-1111-1111-1111-111111111111"}})
    play.delete(SETTINGS, {"preconditions": {"resourceVersion": "1"}})
    play.delete(
        SETTINGS,
        {"preconditions": {"uid": made.meta["uid"], "resourceVersion": made.meta["resourceVersion"]}},
    )


@case
def options_of_a_delete_that_make_no_sense_are_refused(play: Play) -> None:
    play.make(CONFIG_MAPS, config_map())
    play.delete(SETTINGS, {"propagationPolicy": "Sideways"})
    play.delete(SETTINGS, {"propagationPolicy": "Orphan", "orphanDependents": True})
    play.delete(SETTINGS, {"gracePeriodSeconds": "x"})
    play.delete(SETTINGS, b"{")
    play.delete(SETTINGS, {"kind": "Pod", "apiVersion": "v1"})


@case
def a_finalizer_holds_what_is_deleted(play: Play) -> None:
    play.make(CONFIG_MAPS, meta("settings", finalizers=["example.com/hold"]))
    play.delete(SETTINGS)
    play.get(SETTINGS)
    play.patch(SETTINGS, {"data": {"still": "here"}})
    play.patch(SETTINGS, {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}})
    play.delete(SETTINGS)
    play.patch(SETTINGS, {"metadata": {"finalizers": None}})
    play.get(SETTINGS)


@case
def a_finalizer_holds_a_custom_resource(play: Play) -> None:
    held = widget()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    play.make(WIDGETS, held)
    play.delete(f"{WIDGETS}/first")
    play.patch(f"{WIDGETS}/first", {"metadata": {"finalizers": []}})
    play.get(f"{WIDGETS}/first")


@case
def names_of_finalizers_are_checked(play: Play) -> None:
    play.post(CONFIG_MAPS, meta("a", finalizers=["not a name"]))
    play.post(CONFIG_MAPS, meta("a", finalizers=["hold"]))
    play.post(CONFIG_MAPS, meta("a", finalizers=["orphan", "foregroundDeletion"]))


@case
def a_collection_is_deleted_by_selector(play: Play) -> None:
    play.make(SECRETS, secret("a", labels={"x": "1"}), secret("b", labels={"x": "1"}), secret("c"))
    play.delete(SECRETS, labelSelector="x=1")
    play.get(SECRETS, accept=METADATA_LIST)
    play.delete(SECRETS, dryRun="All")
    play.delete(WIDGETS)


def family(play: Play, **reference: object) -> str:
    owner = play.make(CONFIG_MAPS, config_map("owner"))[0].meta["uid"]
    play.make(CONFIG_MAPS, owned(config_map("child"), "ConfigMap", "v1", "owner", owner, **reference))
    return owner


@case
def a_background_delete_takes_the_dependents_along(play: Play) -> None:
    family(play)
    play.delete(f"{CONFIG_MAPS}/owner", {"propagationPolicy": "Background"})
    play.until_gone(f"{CONFIG_MAPS}/child")


@case
def a_foreground_delete_keeps_the_owner_until_its_dependents_are_gone(play: Play) -> None:
    owner = play.make(CONFIG_MAPS, config_map("owner"))[0].meta["uid"]
    child = owned(config_map("child"), "ConfigMap", "v1", "owner", owner, blockOwnerDeletion=True)
    child["metadata"]["finalizers"] = ["example.com/hold"]
    play.make(CONFIG_MAPS, child)
    play.delete(f"{CONFIG_MAPS}/owner", {"propagationPolicy": "Foreground"})
    play.until(lambda: "deletionTimestamp" in play.get(f"{CONFIG_MAPS}/child", kept=False).meta)
    play.get(f"{CONFIG_MAPS}/owner")
    play.patch(f"{CONFIG_MAPS}/child", {"metadata": {"finalizers": None}})
    play.until_gone(f"{CONFIG_MAPS}/owner")


@case
def an_orphaning_delete_leaves_the_dependents(play: Play) -> None:
    family(play)
    play.delete(f"{CONFIG_MAPS}/owner", {"propagationPolicy": "Orphan"})
    play.until_gone(f"{CONFIG_MAPS}/owner")
    play.get(f"{CONFIG_MAPS}/child")


@case
def a_dependent_of_nobody_is_collected(play: Play) -> None:
    play.make(
        CONFIG_MAPS,
        owned(config_map("child"), "ConfigMap", "v1", "owner", "11111111-1111-1111-1111-111111111111"),
    )
    play.until_gone(f"{CONFIG_MAPS}/child")
    play.get(f"{CONFIG_MAPS}/child")


@case
def a_dependent_of_two_owners_stays_for_the_other(play: Play) -> None:
    uids = [play.make(CONFIG_MAPS, config_map(name))[0].meta["uid"] for name in ("one", "two")]
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}
        for name, uid in zip(("one", "two"), uids, strict=True)
    ]
    play.make(CONFIG_MAPS, meta("child", ownerReferences=references))
    play.delete(f"{CONFIG_MAPS}/one")
    play.until(lambda: len(play.get(f"{CONFIG_MAPS}/child", kept=False).meta["ownerReferences"]) == 1)
    play.get(f"{CONFIG_MAPS}/child")


@case
def owner_references_are_checked(play: Play) -> None:
    uid = "11111111-1111-1111-1111-111111111111"
    good = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": uid}
    for wrong in (
        [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a"}],
        [{"apiVersion": "", "kind": "", "name": "", "uid": ""}],
        [good | {"controller": True}, good | {"controller": True, "uid": uid.replace("1", "2")}],
        [good | {"apiVersion": "v1", "kind": "Event"}],
        [good | {"apiVersion": "a/b/c"}],
    ):
        play.post(CONFIG_MAPS, meta("child", ownerReferences=wrong))


@case
def a_deleted_namespace_takes_its_contents_along(play: Play) -> None:
    held = meta(f"{play.namespace}-gone", finalizers=["example.com/hold"])
    play.make("/api/v1/namespaces", held)
    below = "/api/v1/namespaces/{ns}-gone"
    play.make(f"{below}/secrets", secret())
    play.delete(below)
    play.until_gone(f"{below}/secrets/settings")
    play.post(f"{below}/secrets", secret("late"))
    play.patch(below, {"metadata": {"finalizers": None}}, kept=False)
    play.until_gone(below)
    # Admission knows the namespace from a watch, and says for a moment yet that it is being terminated.
    play.until(lambda: play.post(f"{below}/secrets", secret("later"), kept=False).status == 404)
    play.post(f"{below}/secrets", secret("later"))


@case
def namespaces_of_the_system_cannot_be_deleted(play: Play) -> None:
    for name in ("default", "kube-system", "kube-public"):
        play.delete(f"/api/v1/namespaces/{name}")


@case
def a_namespace_that_begins_has_a_finalizer_and_is_active(play: Play) -> None:
    play.get(NS)


@case
def a_definition_is_deleted_with_its_objects(play: Play) -> None:
    group = f"{play.namespace}.example.com"
    one = {
        **meta(f"things.{group}"),
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                    },
                }
            ],
        },
    }
    play.make(DEFINITIONS, one)
    things = f"/apis/{group}/v1/namespaces/{{ns}}/things"
    play.until(lambda: play.get(things, kept=False).status == 200)
    play.until(
        lambda: (
            play.post(things, {"apiVersion": f"{group}/v1", "kind": "Thing", **meta("a")}, kept=False).status
            == 201
        )
    )
    play.get(f"{things}/a")
    play.get(f"{DEFINITIONS}/things.{group}", accept=METADATA)
    play.delete(f"{DEFINITIONS}/things.{group}", accept=METADATA)
    play.until_gone(f"{DEFINITIONS}/things.{group}")
    play.until_gone(things)
