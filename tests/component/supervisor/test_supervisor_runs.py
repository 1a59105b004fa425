from support.supervised import Supervised


def test_a_run_goes_to_its_end(supervised: Supervised) -> None:
    assert supervised.run() == 0, supervised.log().read_text()
    assert supervised.store().status == "finished"
    assert [line["epoch"] for line in supervised.epoch_lines()] == [1, 2, 3]
    assert len(supervised.steps()) == 3 * 8
    for verdict in (supervised.verdict(), supervised.termination()):
        assert (verdict.outcome, verdict.epoch) == ("Done", 3)
        assert verdict.metrics["mAP50"] == 0.75
