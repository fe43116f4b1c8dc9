"""FitFlix: plans, activities and events of a gym."""
