remat_test(test_pack unit/test_pack.c LIBS remat_planner remat_verbs)
target_compile_definitions(test_pack PRIVATE REMAT_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
remat_test(test_check unit/test_check.c support/copies.c support/toy.c support/toy_machine.c support/random_graph.c LIBS remat_planner)
remat_test(test_check_copies unit/test_check_copies.c support/copies.c support/random_graph.c LIBS remat_planner)
set(mutants support/mutants.c support/copies.c support/toy.c support/toy_machine.c support/random_graph.c)
remat_test(test_check_plan unit/test_check_plan.c ${mutants} LIBS remat_planner)
remat_test(test_check_layout unit/test_check_layout.c ${mutants} LIBS remat_planner)
# The long campaign: 10,000 mutants of every kind.
add_custom_target(mutants COMMAND test_check_plan 10000 COMMAND test_check_layout 10000 USES_TERMINAL)
remat_test(test_json unit/test_json.c support/transformer.c LIBS remat_codegen remat_planner)
remat_test(test_report unit/test_report.c support/transformer.c LIBS remat_codegen remat_planner)
remat_test(test_dot unit/test_dot.c support/copies.c support/transformer.c LIBS remat_codegen remat_planner)
add_test(NAME pipeline_pack COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/pack.sh $<TARGET_FILE:rematc>
         ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/pack)
set_tests_properties(pipeline_pack PROPERTIES TIMEOUT 120)
add_test(NAME pipeline_limits COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/limits.sh $<TARGET_FILE:rematc>
         ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/limits)
set_tests_properties(pipeline_limits PROPERTIES TIMEOUT ${test_timeout})
