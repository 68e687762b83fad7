from tests.helpers import tiny_config
def test_x():
    assert tiny_config()
