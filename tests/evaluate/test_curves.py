import io

from matplotlib.image import imread

from medssl.evaluate.curves import draw_curves


def width(png) -> int:
    return imread(io.BytesIO(png)).shape[1]


def test_loss_alone_takes_one_panel_and_validation_adds_another():
    loss = [(10, {"loss": 2.0, "loss/ce": 2.0}), (20, {"loss": 1.0, "loss/ce": 1.0})]
    validated = [*loss, (30, {"loss": 0.5, "loss/ce": 0.5, "dice": 0.8})]
    assert width(draw_curves(validated)) == 2 * width(draw_curves(loss))


def test_nothing_logged_gives_no_picture():
    assert draw_curves([]) is None
    assert draw_curves([(1, {"learning_rate": 0.1})]) is None


def test_gaps_do_not_hide_the_rest():
    assert draw_curves([(1, {"loss": float("nan"), "dice": 0.1}), (2, {"dice": 0.2})])


def test_another_score_is_drawn_and_what_is_watched_has_a_panel_of_its_own():
    steps = [(1, {"loss": 1.0, "score": 0.2, "entropy": 1.6}), (2, {"score": 0.3, "entropy": 1.5})]
    alone = width(draw_curves(steps))
    assert width(draw_curves(steps, "score", "kappa")) == 2 * alone
    assert width(draw_curves(steps, "score", "kappa", {"entropy": "nats"})) == 3 * alone


def test_a_single_logged_step_can_be_seen():
    drawn = imread(io.BytesIO(draw_curves([(10, {"loss": 0.8})])))
    assert (drawn[60:200, 150:, :3] < 0.3).all(2).any()
