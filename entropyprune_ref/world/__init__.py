"""The little visual world that the bundled model was trained on: scenes and images, questions and answers."""
