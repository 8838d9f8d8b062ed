remat_test(test_pack test_pack.c LIBS remat_planner remat_frontend)
target_compile_definitions(test_pack PRIVATE REMAT_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
remat_test(test_check test_check.c copies.c toy.c toy_machine.c random_graph.c LIBS remat_planner)
remat_test(test_check_copies test_check_copies.c copies.c random_graph.c LIBS remat_planner)
set(mutants mutants.c copies.c toy.c toy_machine.c random_graph.c)
remat_test(test_check_plan test_check_plan.c ${mutants} LIBS remat_planner)
remat_test(test_check_layout test_check_layout.c ${mutants} LIBS remat_planner)
# The long campaign: 10,000 mutants of every kind.
add_custom_target(mutants COMMAND test_check_plan 10000 COMMAND test_check_layout 10000 USES_TERMINAL)
remat_test(test_json test_json.c transformer.c LIBS remat_codegen remat_planner)
remat_test(test_dot test_dot.c copies.c transformer.c LIBS remat_codegen remat_planner)
add_test(NAME pipeline_pack COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/pack.sh $<TARGET_FILE:rematc>
         ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/pack)
set_tests_properties(pipeline_pack PROPERTIES TIMEOUT 120)
add_test(NAME pipeline_limits COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/limits.sh $<TARGET_FILE:rematc>
         ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/limits)
set_tests_properties(pipeline_limits PROPERTIES TIMEOUT ${test_timeout})
