"""The little visual world that the bundled model was trained on: images, questions, answers, training, evaluation."""
